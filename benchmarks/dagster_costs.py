"""What our Dagster modules, a code location and a sensor's tick cost, beside dagster-aws and dagster-snowflake.

Every figure comes from a fresh process, the two environments by turns; the first turn is not counted. Ticks are over a
folder with exports that are under way (a sentinel and a data file each), in the stand-in of stub_s3.py.

Usage: dagster_costs.py --peers PYTHON [--runs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from stub_s3 import stub_process
from waits_report import describe_machine

HERE = Path(__file__).parent
WORKER = str(HERE / "dagster_worker.py")
OURS = "mz_orchestration.dagster"
PEERS = ("dagster", "dagster-aws", "dagster-snowflake", "boto3", "snowflake-connector-python")
PENDING = (0, 1_000, 3_000)
STAR = [f"{OURS}.{name}" for name in ("assets.exports", "assets.loads", "assets.syncs", "assets.one_off", "pipelines")]
STAR += [f"{OURS}.{name}" for name in ("sensors.export_completion", "sensors.census_runs")]
COMPONENTS = [f"{OURS}.components.export", f"{OURS}.components.pipeline"]


def cases(peers: str, url: str) -> dict[str, list[str]]:
    """Commands by the name of the row."""
    ours, theirs = [sys.executable, WORKER], [peers, WORKER]
    found = {
        f"import {OURS}": [*ours, "import", OURS],
        "import its builders and sensors": [*ours, "import", *STAR],
        "import its components": [*ours, "import", *COMPONENTS],
        "import dagster_aws.s3": [*theirs, "import", "dagster_aws.s3"],
        "import dagster_snowflake": [*theirs, "import", "dagster_snowflake"],
        "location of 100 exports and 100 loads": [*ours, "location", str(HERE / "dagster_locations/ours.py")],
        "location of 200 empty assets": [*ours, "location", str(HERE / "dagster_locations/bare.py")],
    }
    for pending in PENDING:
        folder = f"s3://pending/{pending}/"
        found[f"tick, {pending} pending, ours"] = [*ours, "tick", "ours", folder, url]
        found[f"tick, {pending} pending, dagster-aws"] = [*theirs, "tick", "peer", folder, url]
    return found


def fill(url: str) -> None:
    """Exports under way: a sentinel and a data file each."""
    for pending in PENDING:
        names = [f"{pending}/shop.t{n:05}/20261122T000000Z-{n:08x}-01/mz-t{n}-" for n in range(pending)]
        objects = [[name + end, 1_000] for name in names for end in ("INCOMPLETE", "batch-0000-0000.parquet")]
        body = json.dumps({"bucket": "pending", "objects": objects}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{url}/-/objects", body, method="POST"), timeout=60).close()


def child(command: list[str], url: str) -> dict[str, Any]:
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": str(HERE),
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def listing_alone(url: str, pending: int) -> float:
    """Seconds the store takes for the pages of one listing, the median of five."""
    taken = []
    for _ in range(5):
        began, token = time.perf_counter(), ""
        while True:
            after = f"&continuation-token={token}" if token else ""
            with urllib.request.urlopen(f"{url}/pending?list-type=2&prefix={pending}/{after}", timeout=60) as answer:
                text = answer.read().decode()
            if "<NextContinuationToken>" not in text:
                break
            token = text.split("<NextContinuationToken>")[1].split("<")[0]
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def summary(name: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the range of the seconds."""
    figures = [figure for figure in answers[0] if figure != "heavy"]
    return {
        "case": name,
        "heavy": answers[0].get("heavy", []),
        **{figure: round(statistics.median(answer[figure] for answer in answers), 5) for figure in figures},
        "seconds_all": [round(answer["seconds"], 5) for answer in answers],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of the environment of constraints-peers-dagster.txt")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=HERE / "results-dagster-costs.json")
    arguments = parser.parse_args()
    results = {**describe_machine(arguments.peers, PEERS), "load_before": os.getloadavg()[0]}
    with stub_process() as stub:
        url = stub.url
        fill(url)
        commands = cases(arguments.peers, url)
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for turn in range(arguments.runs + 1):
            for name, command in commands.items():
                answer = child(command, url)
                if turn:
                    turns[name].append(answer)
        results["listing_alone"] = {str(pending): round(listing_alone(url, pending), 5) for pending in PENDING}
    rows = [summary(name, answers) for name, answers in turns.items()]
    results |= {"load_after": os.getloadavg()[0], "rows": rows}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print("| | seconds (range) | CPU-s | modules | MiB | heavy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        low, high = min(row["seconds_all"]), max(row["seconds_all"])
        print(
            f"| {row['case']} | {row['seconds']:.4f} ({low:.4f}-{high:.4f}) | {row['cpu_seconds']:.4f} "
            f"| {row.get('modules', 0):.0f} | {row.get('rss_mib', 0):.1f} | {', '.join(row['heavy'])} |"
        )
    print("listing alone, seconds:", results["listing_alone"])


if __name__ == "__main__":
    main()
