"""Load by wrk, one round at a time."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from load.servers import LOGS, BenchError, Server


@dataclass(frozen=True)
class Load:
    bodies: str
    connections: int
    title: str


ONE_64 = Load("one", 64, "1 row, 64 connections")
ONE_1 = Load("one", 1, "1 row, 1 connection")
THOUSAND_2 = Load("thousand", 2, "1000 rows, 2 connections")
THOUSAND_1 = Load("thousand", 1, "1000 rows, 1 connection")


def wrk(server: Server, path: str, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    """One round of load; see post.lua for what it answers."""
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    script = Path(__file__).with_name("post.lua")
    done = subprocess.run(
        [*command, "-s", script, url, "--", bodies], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"wrk: {done.stdout}{done.stderr}")
    round_: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if round_["failed"] or not round_["requests"]:
        raise BenchError(
            f"{server.name}: {round_['failed']} of {round_['requests']} requests failed, see {LOGS}"
        )
    return round_
