"""Loads that lose rows: which of them CopyFromExternalStageToSnowflakeOperator and ours call a success.

For every scenario a fresh export is damaged in the store the same way for both; the stock operator then copies its
folder, and ours loads its manifest, over the same local Snowflake. What a COPY INTO answers with ON_ERROR = CONTINUE
is the local Snowflake's; whether the answer is looked at is the operator's.

Usage: airflow_silent_success.py --peers PYTHON [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waits_report import describe_machine

from mz_orchestration.exports.export import run_export
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.spec import export_spec
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.snowflake.config import SnowflakeConfig
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

HERE = Path(__file__).parent
ROWS = 200
STAGE = "DEMO.PUBLIC.MZ_STAGE"
CONTINUE = "ON_ERROR = CONTINUE"

Damage = Callable[[ObjectStore, Manifest], None]


def files_of(manifest: Manifest) -> list[Location]:
    bucket, _, folder = manifest.path.removeprefix("s3://").partition("/")
    return [Location(bucket, f"{folder.rstrip('/')}/{file.name}") for file in manifest.files]


def nothing(store: ObjectStore, manifest: Manifest) -> None:
    pass


def remove_all(store: ObjectStore, manifest: Manifest) -> None:
    for file in files_of(manifest):
        store.delete(file)


def remove_one(store: ObjectStore, manifest: Manifest) -> None:
    store.delete(files_of(manifest)[0])


def empty_one(store: ObjectStore, manifest: Manifest) -> None:
    store.put(files_of(manifest)[0], b"")


def spoil(rows: int) -> Damage:
    """Make the ids of the first rows of the first file no numbers; its size and its lines stay the same."""

    def damage(store: ObjectStore, manifest: Manifest) -> None:
        file = files_of(manifest)[0]
        lines = store.get(file)[0].decode().splitlines(keepends=True)
        store.put(file, "".join("x" + line[1:] if i < rows else line for i, line in enumerate(lines)).encode())

    return damage


def cut_one(store: ObjectStore, manifest: Manifest) -> None:
    """End the first file after half of its lines."""
    file = files_of(manifest)[0]
    lines = store.get(file)[0].decode().splitlines(keepends=True)
    store.put(file, "".join(lines[: len(lines) // 2]).encode())


@dataclass(frozen=True)
class Scenario:
    """What happens between the export and the load, or to the load."""

    name: str
    damage: Damage = nothing
    copy_options: str = ""
    times: int = 1
    fault: dict[str, Any] | None = None


SCENARIOS = [
    Scenario("nothing is wrong"),
    Scenario("all files are gone", remove_all),
    Scenario("one file is gone", remove_one),
    Scenario("one file is empty", empty_one),
    Scenario("one file is cut short", cut_one),
    Scenario("ten bad rows, ON_ERROR = CONTINUE", spoil(10), CONTINUE),
    Scenario("one file of bad rows, ON_ERROR = CONTINUE", spoil(ROWS), CONTINUE),
    Scenario("ten bad rows, ON_ERROR by default", spoil(10)),
    Scenario("Snowflake answers one row less", fault={"copy_rows_loaded_delta": -1, "times": 1}),
    Scenario("the same files twice", times=2),
]


def export(number: int) -> Manifest:
    """Rows over several CSV files."""
    spec = export_spec(
        object=f"scenario_{number}",
        query=f"SELECT i AS id, 'customer-' || i AS name FROM generate_series(1, {ROWS}) AS s(i)",
        to="s3://mz-exports/silent/",
        connection="local_s3",
        format="csv",
    )
    return run_export(spec, run_key=f"silent-{number}").manifest


def tasks(side: str, manifests: list[Manifest]) -> list[dict[str, Any]]:
    found = []
    for number, (scenario, manifest) in enumerate(zip(SCENARIOS, manifests, strict=True)):
        arguments: dict[str, Any]
        table = f"DEMO.PUBLIC.{side}_{number}".upper()
        if side == "ours":
            arguments = {"manifest": str(manifest.location), "stage": STAGE, "table": table}
        else:
            arguments = {
                "table": table,
                "stage": STAGE,
                "prefix": manifest.path.removeprefix("s3://mz-exports/"),
                "pattern": ".*[.]csv",
                "file_format": "(TYPE = CSV)",
                "copy_options": scenario.copy_options or None,
            }
        found.append({"arguments": arguments, "times": scenario.times, "fault": scenario.fault})
    return found


def carry_out(python: str, side: str, given: list[dict[str, Any]], home: str) -> list[list[dict[str, Any]]]:
    done = subprocess.run(
        [python, str(HERE / "airflow_silent_worker.py"), side],
        input=json.dumps(given),
        env={**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stdout}\n{done.stderr}")
    answers: list[list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def rows_in(session: SnowflakeSession, table: str) -> int | None:
    """Rows of a table; None if it was never made."""
    name = table.rpartition(".")[2]
    if not session.query(Sql(f"SHOW TABLES LIKE '{name}' IN SCHEMA DEMO.PUBLIC")).rows:
        return None
    return int(session.query(Sql(f"SELECT COUNT(*) AS N FROM {table}")).rows[0]["n"])


def verdict(answers: list[dict[str, Any]], rows: int | None) -> str:
    """``right`` is a success with every row, or a failure; anything else is silent."""
    green = answers[-1]["state"] == "success"
    return "silent loss" if green and rows != ROWS else "right"


def compare(peers: str, home: str) -> list[dict[str, Any]]:
    store = ObjectStore()
    manifests = [export(number) for number in range(len(SCENARIOS))]
    for scenario, manifest in zip(SCENARIOS, manifests, strict=True):
        if len(manifest.files) < 2 or manifest.rows != ROWS:
            sys.exit(f"the export has {len(manifest.files)} files and {manifest.rows} rows")
        scenario.damage(store, manifest)
    found: list[dict[str, Any]] = [
        {"scenario": scenario.name, "rows_exported": ROWS, "files": len(manifest.files)}
        for scenario, manifest in zip(SCENARIOS, manifests, strict=True)
    ]
    for side, python in (("stock", peers), ("ours", sys.executable)):
        given = tasks(side, manifests)
        with SnowflakeSession(SnowflakeConfig.from_environment()) as session:
            for task in given if side == "stock" else []:
                session.query(Sql(f"CREATE TABLE {task['arguments']['table']} (ID NUMBER, NAME VARCHAR)"))
            ended = carry_out(python, side, given, home)
            for row, task, answers in zip(found, given, ended, strict=True):
                rows = rows_in(session, task["arguments"]["table"])
                row[side] = {"runs": answers, "rows_in_table": rows, "verdict": verdict(answers, rows)}
    return found


def told(side: dict[str, Any]) -> str:
    states = ", then ".join(
        f"{run['state']} ({run['error']})" if "error" in run else run["state"] for run in side["runs"]
    )
    rows = "no table" if side["rows_in_table"] is None else side["rows_in_table"]
    return f"{states} | {rows}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of the environment of constraints-peers.txt")
    parser.add_argument("--output", type=Path, default=HERE / "results-airflow-silent-success.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalStack() as stack:
        stack.start(Path(folder) / "stack", port_base=0)
        os.environ.update(stack.environment)
        rows = compare(arguments.peers, f"{folder}/airflow")
    results = {**describe_machine(arguments.peers), "scenarios": rows}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"| what happens ({ROWS} rows exported) | stock | rows in table | ours | rows in table |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row['scenario']} | {told(row['stock'])} | {told(row['ours'])} |")
    lost = [row["scenario"] for row in rows if row["ours"]["verdict"] != "right"]
    if lost:
        sys.exit(f"ours called a loss a success: {lost}")


if __name__ == "__main__":
    main()
