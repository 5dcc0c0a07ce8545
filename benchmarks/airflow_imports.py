"""What our modules and DAG files cost beside the stock ones, above Airflow's own names.

Every figure comes from a fresh process, the two environments by turns; the first turn is not counted.

Usage: airflow_imports.py --peers PYTHON [--runs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from waits_report import describe_machine

HERE = Path(__file__).parent
WORKER = str(HERE / "airflow_imports_worker.py")
OURS = "mz_orchestration.airflow."
MODULES = [
    *("transfers.materialize_to_s3", "transfers.materialize_to_snowflake", "transfers.export_to_snowflake"),
    *("operators.census", "sensors.s3", "triggers.job", "triggers.sentinel", "triggers.sentinel_events"),
    *("triggers.sentinel_queue", "hooks.materialize", "hooks.census", "assets.materialize", "pipelines"),
    *("retry_policy", "task_groups"),
]
DAGS = [
    *("materialize_to_snowflake.py", "materialize_to_census.py", "materialize_event_driven.py"),
    "materialize_pipeline.py",
]
STOCK = [
    "airflow.providers.amazon.aws.transfers.sql_to_s3",
    "airflow.providers.amazon.aws.sensors.s3",
    "airflow.providers.amazon.aws.triggers.s3",
    "airflow.providers.snowflake.transfers.copy_into_snowflake",
    "airflow.providers.postgres.hooks.postgres",
]


def cases(peers: str) -> dict[str, list[str]]:
    """Commands by the name of the row."""
    ours = [sys.executable, WORKER]
    stock = [peers, WORKER]
    files = [*(HERE.parent / "dags" / name for name in DAGS), HERE / "airflow_dags" / "from_pipeline.py"]
    return {
        **{f"import {OURS}{name}": [*ours, "import", OURS + name] for name in MODULES},
        "import all of ours": [*ours, "import", *(OURS + name for name in MODULES)],
        **{f"import {name}": [*stock, "import", name] for name in STOCK},
        "import all of stock": [*stock, "import", *STOCK],
        **{f"parse {file.name}": [*ours, "parse", str(file)] for file in files},
        "parse stock.py": [*stock, "parse", str(HERE / "airflow_dags" / "stock.py")],
    }


def child(command: list[str], home: str) -> dict[str, Any]:
    settings = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def summary(name: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the range of the seconds."""
    figures = [figure for figure in answers[0] if figure != "heavy"]
    return {
        "case": name,
        "heavy": answers[0]["heavy"],
        **{figure: round(statistics.median(answer[figure] for answer in answers), 4) for figure in figures},
        "seconds_all": [round(answer["seconds"], 4) for answer in answers],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of the environment of constraints-peers.txt")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=HERE / "results-airflow-imports.json")
    arguments = parser.parse_args()
    results = {**describe_machine(arguments.peers), "load_before": os.getloadavg()[0]}
    commands = cases(arguments.peers)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as home:
        for turn in range(arguments.runs + 1):
            for name, command in commands.items():
                answer = child(command, home)
                if turn:
                    turns[name].append(answer)
    rows = [summary(name, answers) for name, answers in turns.items()]
    results |= {"load_after": os.getloadavg()[0], "rows": rows}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print("| | seconds (range) | modules | MiB | heavy | parsed again |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        low, high = min(row["seconds_all"]), max(row["seconds_all"])
        again = f"{row['again_seconds']:.4f}" if "again_seconds" in row else ""
        print(
            f"| {row['case']} | {row['seconds']:.4f} ({low:.4f}-{high:.4f}) | {row['modules']:.0f} "
            f"| {row['rss_mib']:.1f} | {', '.join(row['heavy'])} | {again} |"
        )


if __name__ == "__main__":
    main()
