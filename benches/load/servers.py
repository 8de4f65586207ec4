"""The servers that are measured: started on a free port, waited for, and ended whatever happens."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

ROOT = Path(__file__).resolve().parent.parent.parent
LOGS = ROOT / "target" / "bench"


class BenchError(Exception):
    """Something that makes a figure worthless; the message says what and where to look."""


@dataclass(frozen=True)
class Places:
    """Where the models lie and where cargo has built."""

    models: Path
    target: Path

    @property
    def wine(self) -> Path:
        return self.models / "wine.onnx"

    def model_names(self) -> list[str]:
        return sorted(file.stem for file in self.models.glob("*.onnx"))


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    path: str
    process: subprocess.Popen[bytes]
    started: float

    def call(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get_json(self, path: str) -> Any:
        status, body = self.call("GET", path)
        if status != 200:
            raise BenchError(f"{self.name}: GET {path} answered {status}: {body[:300]!r}")
        return json.loads(body)

    def predict(self, body: str) -> Any:
        status, answer = self.call("POST", self.path, body)
        if status != 200:
            raise BenchError(f"{self.name}: POST {self.path} answered {status}: {answer[:300]!r}")
        return json.loads(answer)

    def peak_mib(self) -> float:
        """The most memory it had resident so far, in MiB (Linux)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise BenchError("the kernel does not say VmHWM")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def shared_library() -> Path:
    """ONNX Runtime's library in the wheel that this process itself uses, so that all servers run the same one."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    found = [*folder.glob("libonnxruntime.so.*"), *folder.glob("libonnxruntime.*.dylib")]
    if not found:
        raise BenchError(f"no libonnxruntime in {folder}")
    return found[0]


@dataclass(frozen=True)
class Start:
    """How a server is started, and the path it predicts wines at."""

    command: list[str]
    settings: dict[str, str]
    path: str = "/predict"


def start_of(name: str, port: int, places: Places) -> Start:
    listen = f"127.0.0.1:{port}"
    release = places.target / "release"
    peers = str(ROOT / "benches" / "peers" / "run")
    starts = {
        "porteiro": Start(
            [str(release / "porteiro"), "serve"],
            {"PORTEIRO__SERVER__LISTEN": listen, "PORTEIRO__MODELS__DIR": str(places.models)},
            "/predict/wine",
        ),
        "bare": Start(
            [str(release / "examples" / "bare")], {"BARE_LISTEN": listen, "BARE_MODEL": str(places.wine)}
        ),
        "flask": Start([peers, "flask", str(port)], {}),
        "fastapi": Start([peers, "fastapi", str(port)], {"WINE_ONNX": str(places.wine)}),
    }
    return starts[name]


@contextmanager
def serve(name: str, places: Places, ready_path: str = "/healthz") -> Iterator[Server]:
    """Starts one of the servers, waits until it answers, and ends it with all its workers whatever happens."""
    port = free_port()
    start = start_of(name, port, places)
    program = start.command[0]
    if not Path(program).is_file():
        raise BenchError(f"{program} is missing: run `cargo build --release --bin porteiro --example bare`")
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    environment = os.environ | {"ORT_DYLIB_PATH": str(shared_library())} | start.settings
    with log.open("wb") as output:
        started = time.perf_counter()
        # A session of its own: the signal at the end reaches the workers of gunicorn and uvicorn too.
        process = subprocess.Popen(
            start.command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    server = Server(name, port, start.path, process, started)
    try:
        wait_until_ready(server, ready_path, log)
        yield server
    finally:
        stop(process)


def wait_until_ready(server: Server, ready_path: str, log: Path) -> None:
    # The Python servers may have to install themselves and train first.
    deadline = server.started + (600 if server.name in ("flask", "fastapi") else 30)
    while time.perf_counter() < deadline:
        if server.process.poll() is not None:
            raise BenchError(
                f"{server.name} ended with {server.process.returncode}:\n{log.read_text()[-2000:]}"
            )
        try:
            if server.call("GET", ready_path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.001)
    raise BenchError(f"{server.name} is not ready, see {log}")


def stop(process: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
            process.wait(timeout=15)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
