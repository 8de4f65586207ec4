# The gateway in a container: the binary, ONNX Runtime's shared library and Debian's C and C++ libraries, nothing else.
# Models and settings are mounted at /app/models and /app/config.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The crates and what was compiled of them stay in caches between builds, so that a change of the sources compiles only
# this package. Caches are no part of the image: the binary is copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin porteiro \
    && install -D target/release/porteiro /out/porteiro

# The official wheel carries the shared library; its Python part and its dependencies are not needed.
FROM python:3.11-slim-bookworm AS onnxruntime
WORKDIR /wheel
COPY python/requirements-serve.txt .
RUN pip install --no-cache-dir --no-deps --target . --requirement requirements-serve.txt \
    && install -D --mode 644 onnxruntime/capi/libonnxruntime.so.* /out/lib/libonnxruntime.so \
    && install -D --mode 644 --target-directory /out/doc onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt

FROM debian:bookworm-slim
RUN useradd --system --user-group --uid 10001 --no-create-home --shell /usr/sbin/nologin porteiro
COPY --from=onnxruntime /out/lib/libonnxruntime.so /usr/local/lib/
COPY --from=onnxruntime /out/doc /usr/share/doc/onnxruntime
COPY --from=build /out/porteiro /usr/local/bin/
COPY deploy/healthcheck /usr/local/bin/porteiro-healthcheck
WORKDIR /app
# ONNX Runtime's official builds report to their maker unless ORT_DISABLE_TELEMETRY is set.
ENV ORT_DYLIB_PATH=/usr/local/lib/libonnxruntime.so \
    ORT_DISABLE_TELEMETRY=1 \
    PORTEIRO__SERVER__LISTEN=0.0.0.0:5000
USER 10001:10001
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["porteiro-healthcheck"]
ENTRYPOINT ["porteiro"]
CMD ["serve"]
