# make run    build, then serve the models of models/ on http://127.0.0.1:5000
# make build  stop before serving
# make test   everything: Rust, Python clients against the real binary, the notebooks
# make lint   rustfmt, clippy, ruff, mypy, Dockerfile and compose file
# make bench  ratios against a bare server, Flask and FastAPI (needs wrk: apt install wrk)
# make models run the notebooks, which write models/*.onnx

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The data sets: a folder, or nothing, and then the notebooks load them from their public address.
PORTEIRO_DATA ?= $(wildcard ../shared/data)
export PORTEIRO_DATA
# Official builds of ONNX Runtime report to their maker unless told not to.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: run build test lint bench models clean

run: build
	target/release/porteiro serve

build: $(VENV)/.serve
	cargo build --release --locked

# Two stamps, as serving needs one wheel and the notebooks need scikit-learn and its kin.
$(VENV)/.serve: python/requirements-serve.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(VENV)/.full: python/requirements.txt pyproject.toml $(VENV)/.serve
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test: build $(VENV)/.full
	$(BIN)/python tests/fixtures/make.py target/fixtures
	INSTA_UPDATE=no cargo test --locked
	$(BIN)/python -m pytest tests/python

lint: $(VENV)/.full
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	bash -n deploy/healthcheck benches/peers/run

bench: build $(VENV)/.full
	cargo build --release --locked --example bare
	cargo bench --locked --bench engine
	$(BIN)/python benches/run.py $(BENCH)

# An absolute folder, as notebooks run in their own.
models: $(VENV)/.full
	PORTEIRO_DATA=$(abspath $(PORTEIRO_DATA)) $(BIN)/python -m pytest --nbmake notebooks

clean:
	rm -rf target $(VENV)
