"""An export as a task: MaterializeToS3Operator beside SqlToS3Operator, on the same rows in one run.

Both operators' ``execute`` runs in a fresh process of its own environment, by turns; the first turn is not counted.
SqlToS3Operator reads the PostgreSQL that lies behind the local Materialize directly, over its unix socket, which is its
best case; ours has the local Materialize write the files. After every export the rows in the store are counted.

Usage: airflow_export.py --peers PYTHON [--runs N] [--rows N ...] [--output FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from waits_report import describe_machine

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore, ObjectStoreConfig
from mz_orchestration.objectstore.location import parse_folder

HERE = Path(__file__).parent
SIDES = ("ours", "stock")
FIGURES = ("seconds", "cpu_seconds", "idle_mib", "peak_above_idle_mib", "peak_mib")
COLUMNS = sql.SQL(
    "i AS id, 'customer-' || lpad((i % 99991)::text, 11, '0') AS name, (i % 100000 / 7.0)::numeric(12,2) AS amount, "
    "timestamp '2026-01-01' + i % 86400 * interval '1 second' AS at, "
    "jsonb_build_object('k', i % 100, 'tag', 'v' || i % 7) AS tags"
)


def postgres(stack: LocalStack) -> dict[str, Any]:
    """Where PostgreSQL itself listens, behind the local Materialize."""
    root = json.loads((stack.folder / "materialize" / "postgres.json").read_text())["root"]
    password = stack.state.secrets.materialize_password
    return {"host": f"{root}/s", "port": 5432, "user": "materialize", "password": password, "dbname": "materialize"}


def connection_of(behind: dict[str, Any]) -> str:
    """The same as an Airflow connection."""
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": behind["host"],
            "port": behind["port"],
            "login": behind["user"],
            "password": behind["password"],
            "schema": behind["dbname"],
        }
    )


def fill(behind: dict[str, Any], rows: int) -> str:
    """Make a table of so many rows and return its name."""
    name = f"bench_{rows}"
    with psycopg.connect(**behind, autocommit=True) as connection:
        table = sql.Identifier(name)
        made = sql.SQL("CREATE TABLE {} AS SELECT {} FROM generate_series(1, {}) AS s(i)")
        connection.execute(made.format(table, COLUMNS, sql.Literal(rows)))
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
    return name


def rows_in(store: ObjectStore, folder: str) -> tuple[int, float]:
    """Rows in the Parquet files of a folder, and their MiB."""
    import pyarrow.parquet

    files = [each for each in store.list_objects(parse_folder(folder, field="folder")) if each.key.endswith(".parquet")]
    rows = 0
    for file in files:
        body = store.client.get_object(Bucket="mz-exports", Key=file.key)["Body"].read()
        rows += pyarrow.parquet.read_metadata(io.BytesIO(body)).num_rows
    return rows, sum(file.size for file in files) / 2**20


def child(python: str, side: str, table: str, folder: str, environment: dict[str, str]) -> dict[str, Any]:
    command = [python, str(HERE / "airflow_export_worker.py"), side, table, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compare(
    rows: int, runs: int, pythons: dict[str, str], environment: dict[str, str], store: ObjectStore, table: str
) -> dict[str, Any]:
    turns: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for turn in range(runs + 1):
        for side, answers in turns.items():
            if not turn and rows > 1_000_000:
                continue  # warm already
            folder = f"airflow-bench/{side}/{rows}-{turn}/"
            answer = child(pythons[side], side, table, folder, environment)
            counted, mib = rows_in(store, f"s3://mz-exports/{folder}all/")
            if counted != rows:
                sys.exit(f"{side}: {counted} rows in the store, not {rows}")
            if turn:
                answers.append({**answer, "object_mib": mib})
            print(f"{side} {rows:,} {answer['rows']}", file=sys.stderr, flush=True)
    return {"rows": rows, **{side: summary(answers) for side, answers in turns.items()}}


def summary(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of each figure, and all the figures of the rows."""
    found: dict[str, Any] = {
        part: {name: round(statistics.median(each[part][name] for each in answers), 3) for name in FIGURES}
        for part in ("first", "rows")
    }
    found["object_mib"] = round(answers[0]["object_mib"], 1)
    return found | {"all": [{name: round(each["rows"][name], 3) for name in FIGURES} for each in answers]}


def report(exports: list[dict[str, Any]]) -> None:
    print("| rows | | peak above idle, MiB (range) | seconds (range) | CPU-s | first export: seconds, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for export in exports:
        for side in SIDES:
            mine = export[side]
            ranges = {
                name: f"{min(each[name] for each in mine['all']):,.4g}-{max(each[name] for each in mine['all']):,.4g}"
                for name in FIGURES
            }
            middle, first = mine["rows"], mine["first"]
            print(
                f"| {export['rows']:,} | {side} | {middle['peak_above_idle_mib']:,.4g} "
                f"({ranges['peak_above_idle_mib']}) | {middle['seconds']:.3g} ({ranges['seconds']}) "
                f"| {middle['cpu_seconds']:.3g} ({ranges['cpu_seconds']}) "
                f"| {first['seconds']:.2f}, {first['peak_above_idle_mib']:.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="the Python of the environment of constraints-peers.txt")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--output", type=Path, default=HERE / "results-airflow-export.json")
    arguments = parser.parse_args()
    results = {**describe_machine(arguments.peers), "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder, LocalStack() as stack:
        stack.start(Path(folder) / "stack", port_base=0)
        behind = postgres(stack)
        settings = {
            **stack.environment,
            "AIRFLOW_HOME": f"{folder}/airflow",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_POSTGRES_DEFAULT": connection_of(behind),
        }
        mine = stack.environment
        store = ObjectStore(
            ObjectStoreConfig(
                endpoint_url=mine["AWS_ENDPOINT_URL"],
                region_name=mine["AWS_REGION"],
                aws_access_key_id=mine["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=mine["AWS_SECRET_ACCESS_KEY"],
            )
        )
        pythons = {"ours": sys.executable, "stock": arguments.peers}
        exports = [
            compare(rows, arguments.runs, pythons, {**os.environ, **settings}, store, fill(behind, rows))
            for rows in arguments.rows
        ]
    results |= {"load_after": os.getloadavg()[0], "exports": exports}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    report(exports)


if __name__ == "__main__":
    main()
