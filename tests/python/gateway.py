"""Starts the real gateway for Python tests: the release binary, on a port the system chooses."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import final

import requests

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PORTEIRO_BIN", ROOT / "target" / "release" / "porteiro")).resolve()
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")


@final
class Gateway:
    """One `porteiro serve` process that serves the ONNX files of `models`.

    `folder` is its working folder: it may hold `config/`, and takes what the gateway writes. `env` adds to the environment
    or overrides it. Use it as a context manager, or call `start` and `stop`. `log` holds the lines of stdout and stderr.
    """

    def __init__(self, folder: Path, models: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.models = models
        self.env = dict(env or {})
        self.base_url = ""
        self.log: list[str] = []
        self._listening_or_ended = threading.Event()

    def start(self, timeout_s: float = 30.0) -> "Gateway":
        """Starts the process and returns when `/readyz` answers 200; raises RuntimeError with the log if it does not."""
        if not BINARY.is_file():
            raise RuntimeError(f"{BINARY} does not exist; build it with: make build")
        deadline = time.monotonic() + timeout_s
        self._process = subprocess.Popen(
            [BINARY, "serve"],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self._listening_or_ended.wait(timeout_s)
            if not self.base_url:
                raise RuntimeError("the gateway did not say where it listens")
            self._wait_until_ready(deadline)
        except RuntimeError as error:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            raise RuntimeError(f"{error}; its log:\n" + "\n".join(self.log)) from None
        return self

    def stop(self, timeout_s: float = 30.0) -> int:
        """Asks the process to end (SIGTERM) and returns its exit code; raises TimeoutExpired if it has to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()

    def url(self, path: str) -> str:
        """The full address of `path`, which begins with a slash."""
        return self.base_url + path

    def __enter__(self) -> "Gateway":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        # The virtual environment's onnxruntime is found through VIRTUAL_ENV, also where pytest runs without activating it.
        return {
            **os.environ,
            "VIRTUAL_ENV": sys.prefix,
            "PORTEIRO__SERVER__LISTEN": "127.0.0.1:0",
            "PORTEIRO__MODELS__DIR": str(self.models),
            **self.env,
        }

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.log.append(line.rstrip("\n"))
                if not self.base_url and (found := LISTENING.search(line)):
                    self.base_url = found.group(1)
                    self._listening_or_ended.set()
        self._listening_or_ended.set()

    def _wait_until_ready(self, deadline: float) -> None:
        pause = threading.Event()
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if requests.get(self.url("/readyz"), timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                pass  # The process may be ending; the loop's condition says so.
            pause.wait(0.02)
        raise RuntimeError("the gateway did not become ready")
