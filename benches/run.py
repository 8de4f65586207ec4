"""Measures the gateway beside a bare reference and two Python servers, and prints ratios.

Every figure is of one alternating run: product, other, product, other, in short rounds on the same machine and with
the same rows, different ones in each request. A ratio is the median of the rounds' ratios, product over other, with
the smallest and the largest. All answers are checked against the model run in this process before and after.

Needs the release build, `cargo build --release --example bare` and wrk. `--only bare` and the like run a part.
The wines are those of the folder that PORTEIRO_DATA names; without it they are made up from the model's example.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# ONNX Runtime's official builds report to their maker unless this is set before the library is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
from load.rows import BATCH_ROWS, Row, batches, check_answers, rows_like, wines_of, write_bodies
from load.servers import ROOT, BenchError, Places, Server, serve
from load.wrk import ONE_1, ONE_64, THOUSAND_1, THOUSAND_2, wrk

PARTS = ("bare", "flask", "fastapi", "engine", "ready", "memory")


@dataclass(frozen=True)
class Figure:
    """One line of the table. `target` is the bound on `value`: at least it, or at most it."""

    title: str
    value: float
    low: float
    high: float
    unit: str = "x"
    target: float | None = None
    at_least: bool = True
    product: str = ""
    other: str = ""

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def figure_of(title: str, values: list[float], **more: Any) -> Figure:
    return Figure(title, statistics.median(values), min(values), max(values), **more)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Measure:
    """What of a round is compared: a key of its JSON, how it is called, and the bound on the ratio if there is one."""

    key: str
    title: str
    target: float | None = None
    at_least: bool = True

    def text(self, rounds: list[dict[str, float]]) -> str:
        value = statistics.median(round_[self.key] for round_ in rounds)
        return f"{value:,.0f}/s" if self.key == "rps" else f"{value / 1000:.3f} ms"


COMPARED = {
    "bare": [
        (ONE_64, [Measure("rps", "requests/s", 0.85), Measure("p99_us", "p99", 1.3, at_least=False)]),
        (ONE_1, [Measure("p50_us", "p50", 1.2, at_least=False)]),
        (THOUSAND_2, [Measure("rps", "requests/s", 1.0)]),
        (THOUSAND_1, [Measure("p50_us", "p50", 0.7, at_least=False)]),
    ],
    "flask": [(ONE_64, [Measure("rps", "requests/s")]), (THOUSAND_2, [Measure("rps", "requests/s")])],
    "fastapi": [(ONE_64, [Measure("rps", "requests/s")]), (THOUSAND_2, [Measure("rps", "requests/s")])],
}


def compare(other_name: str, scratch: Path, options: argparse.Namespace) -> list[Figure]:
    """The product beside another server, load by load, in alternating rounds."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        product = stack.enter_context(serve("porteiro", options.places, "/readyz"))
        other = stack.enter_context(serve(other_name, options.places))
        rows = wine_rows(product)
        bodies = {
            "one": write_bodies(scratch / "one.jsonl", rows),
            "thousand": write_bodies(scratch / "thousand.jsonl", batches(rows)),
        }
        for server in (product, other):
            check_answers(server, rows, options.places)
        for load, measures in COMPARED[other_name]:
            say(
                f"{load.title}, porteiro and {other_name}: {options.rounds} rounds of 2 x {options.seconds:g} s"
            )
            rounds: dict[str, list[dict[str, float]]] = {product.name: [], other.name: []}
            for server in (product, other):
                wrk(server, server.path, bodies[load.bodies], load.connections, 1)
            for _ in range(options.rounds):
                for server in (product, other):
                    measured = wrk(
                        server, server.path, bodies[load.bodies], load.connections, options.seconds
                    )
                    rounds[server.name].append(measured)
            ours, theirs = rounds[product.name], rounds[other.name]
            for measure in measures:
                ratios = [
                    our[measure.key] / their[measure.key] for our, their in zip(ours, theirs, strict=True)
                ]
                figures.append(
                    figure_of(
                        f"{load.title}: {measure.title} over {other_name}",
                        ratios,
                        target=measure.target,
                        at_least=measure.at_least,
                        product=measure.text(ours),
                        other=measure.text(theirs),
                    )
                )
        for server in (product, other):
            check_answers(server, rows, options.places)
    return figures


def wine_rows(product: Server) -> list[Row]:
    folder = os.environ.get("PORTEIRO_DATA")
    if folder:
        return wines_of(Path(folder) / "wine_quality.csv")
    example: Row = product.get_json("/example/wine")["input"]
    return rows_like(example, 6000)


def measure_ready(options: argparse.Namespace) -> list[Figure]:
    """Seconds from starting the process to the first 200 of /readyz; all models then answer."""
    names, seconds = options.places.model_names(), []
    say(f"ready with {len(names)} models: {options.rounds} starts")
    for _ in range(options.rounds):
        with serve("porteiro", options.places, "/readyz") as product:
            seconds.append(time.perf_counter() - product.started)
            for name in names:
                product.get_json(f"/example/{name}")
    title = f"start to ready, {len(names)} models"
    return [figure_of(title, seconds, unit="s", target=1.0, at_least=False)]


def measure_memory(scratch: Path, options: argparse.Namespace) -> list[Figure]:
    """The most memory resident while every model is under load, one row and a thousand rows a request."""
    names = options.places.model_names()
    say(f"memory: {len(names)} models under load, {options.seconds:g} s each")
    with serve("porteiro", options.places, "/readyz") as product:
        for name in names:
            rows = rows_like(product.get_json(f"/example/{name}")["input"], 4 * BATCH_ROWS)
            one = write_bodies(scratch / "memory_one.jsonl", rows)
            thousand = write_bodies(scratch / "memory_thousand.jsonl", batches(rows))
            wrk(product, f"/predict/{name}", one, 64, options.seconds / 2)
            wrk(product, f"/predict/{name}", thousand, 8, options.seconds / 2)
        peak = product.peak_mib()
    return [
        figure_of(
            f"resident at most, {len(names)} models under load",
            [peak],
            unit="MiB",
            target=200.0,
            at_least=False,
        )
    ]


def measure_engine(options: argparse.Namespace) -> list[Figure]:
    """What `cargo bench --bench engine` left: the engine's time for 1000 rows beside one `session.run` on all cores."""
    folder = options.places.target / "criterion" / "engine_1000_rows"
    times = {}
    for name in ("porteiro", "session_run"):
        estimates = folder / name / "new" / "estimates.json"
        if not estimates.is_file():
            say(f"engine: no {estimates}, run `cargo bench --bench engine` first")
            return []
        times[name] = json.loads(estimates.read_text())["median"]
    ours, theirs = times["porteiro"], times["session_run"]
    return [
        Figure(
            "engine alone, 1000 rows: rows/s over one session.run",
            theirs["point_estimate"] / ours["point_estimate"],
            theirs["confidence_interval"]["lower_bound"] / ours["confidence_interval"]["upper_bound"],
            theirs["confidence_interval"]["upper_bound"] / ours["confidence_interval"]["lower_bound"],
            target=0.95,
            product=f"{1e12 / ours['point_estimate']:,.0f}/s",
            other=f"{1e12 / theirs['point_estimate']:,.0f}/s",
        )
    ]


def machine() -> str:
    """The machine in one line, for whoever reads the figures elsewhere."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load:.1f} before the run"


def table(figures: list[Figure]) -> str:
    lines = [("", "median", "min .. max", "target", "", "porteiro", "other")]
    for figure in figures:
        unit = "" if figure.unit == "x" else f" {figure.unit}"
        digits = 0 if figure.unit == "MiB" else 2
        bound = (
            "" if figure.target is None else f"{'>=' if figure.at_least else '<='} {figure.target:g}{unit}"
        )
        verdict = {None: "", True: "reached", False: "MISSED"}[figure.reached]
        spread = f"{figure.low:.{digits}f} .. {figure.high:.{digits}f}"
        value = f"{figure.value:.{digits}f}{unit}"
        lines.append((figure.title, value, spread, bound, verdict, figure.product, figure.other))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="run these parts only")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (5)")
    parser.add_argument("--seconds", type=float, default=5, help="length of one round of one server (5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--models", type=Path, default=ROOT / "models", help="the folder of the five models (models)"
    )
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--target", type=Path, default=target, help="cargo's target folder (target)")
    options = parser.parse_args()
    options.places = Places(options.models.resolve(), options.target.resolve())
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    return options


def end_on_signal(signum: int, _frame: Any) -> None:
    # As an exception it passes through `serve`, which ends the servers.
    raise SystemExit(128 + signum)


def main() -> None:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, end_on_signal)
    if "PORTEIRO_DATA" in os.environ:
        # The servers are started in the repository's root.
        os.environ["PORTEIRO_DATA"] = str(Path(os.environ["PORTEIRO_DATA"]).resolve())
    described = machine()
    figures: list[Figure] = []
    try:
        with tempfile.TemporaryDirectory(prefix="porteiro-bench-") as scratch:
            for part in options.only:
                match part:
                    case "engine":
                        figures += measure_engine(options)
                    case "ready":
                        figures += measure_ready(options)
                    case "memory":
                        figures += measure_memory(Path(scratch), options)
                    case _:
                        figures += compare(part, Path(scratch), options)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if options.json:
        lines = [asdict(figure) | {"reached": figure.reached} for figure in figures]
        print(json.dumps({"machine": described, "figures": lines}, indent=2))
    else:
        print(f"{described}\n\n{table(figures)}")


if __name__ == "__main__":
    main()
