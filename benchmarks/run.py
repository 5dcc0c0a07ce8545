"""Runs the benchmarks over a local stack of their own and writes results.json.

Usage: run.py [--runs N] [--rows N ...]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mz_orchestration.local.stack import LocalStack

HERE = Path(__file__).parent
COLUMNS = (
    "i AS id, 'customer-' || lpad((i % 99991)::text, 11, '0') AS name, (i % 100000 / 7.0)::numeric(12,2) AS amount, "
    "timestamp '2026-01-01' + i % 86400 * interval '1 second' AS at, jsonb_build_object('k', i % 100) AS tags"
)


def timed(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """A child's JSON answer and the wall time of the whole process."""
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.monotonic() - began
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stderr}")
    return {**json.loads(done.stdout or "{}"), "process_seconds": wall}


def exports(rows: int, runs: int, environment: dict[str, str]) -> dict[str, Any]:
    query = f"SELECT {COLUMNS} FROM generate_series(1, {rows}) AS s(i)"
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "handwritten": []}
    for number in range(runs + 1):  # the first of each warms up and is not counted
        for side, answers in sides.items():
            answer = timed([sys.executable, str(HERE / f"{side}.py"), query, f"{rows}-{number}"], environment)
            assert answer["rows"] == rows
            if number:
                answers.append(answer)
    memory = [
        timed([sys.executable, str(HERE / "ours.py"), query, f"{rows}-memory-{number}", "--memory"], environment)
        for number in range(runs)
    ]
    ratios = {
        field: [a[field] / b[field] for a, b in zip(sides["ours"], sides["handwritten"], strict=True)]
        for field in ("seconds", "process_seconds")
    }
    return {
        "rows": rows,
        "peak_above_idle_mib": [round(answer["peak_above_idle_mib"], 2) for answer in memory],
        "seconds": {side: [round(a["seconds"], 3) for a in answers] for side, answers in sides.items()},
        "run_ratio_median": round(statistics.median(ratios["seconds"]), 3),
        "process_ratio_median": round(statistics.median(ratios["process_seconds"]), 3),
    }


def startup(runs: int, environment: dict[str, str]) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "mz-orchestration"), "--version"]
    bare = [sys.executable, "-c", "pass"]
    seconds: dict[str, list[float]] = {"command": [], "python": []}
    for number in range(runs + 1):
        for side, words in (("command", command), ("python", bare)):
            began = time.monotonic()
            subprocess.run(words, env=environment, capture_output=True, check=True)
            if number:
                seconds[side].append(round(time.monotonic() - began, 3))
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return {"seconds": seconds, "ratio_of_medians": round(medians["command"] / medians["python"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalStack() as stack:
        stack.start(Path(folder) / "stack", port_base=0)
        environment = {**os.environ, **stack.environment}
        results = {
            "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("psycopg", "boto3", "pyarrow", "moto")},
            "exports": [exports(rows, arguments.runs, environment) for rows in arguments.rows],
            "startup": startup(arguments.runs, environment),
        }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print("| rows | peak above idle, MiB (max) | run over handwritten | process over handwritten |")
    print("| --- | --- | --- | --- |")
    for export in results["exports"]:
        print(
            f"| {export['rows']:,} | {max(export['peak_above_idle_mib'])} | {export['run_ratio_median']} "
            f"| {export['process_ratio_median']} |"
        )
    print(f"start-up of the command over bare python: {results['startup']['ratio_of_medians']}")


main()
