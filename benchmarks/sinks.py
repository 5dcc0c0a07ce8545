"""What it takes to watch many sinks: a look, its judgement, a tick of Dagster's sensor, beside a query for each.

All sides in turn, on the local Materialize, whose own speed is not Materialize's: read the numbers of statements and
the ratios. Nothing in the sinks changes meanwhile, as most of the time.

Usage: sinks.py [--sinks N ...] [--runs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from waits_report import describe_machine

from mz_orchestration.local.stack import LocalStack
from mz_orchestration.sinks.look import Looker
from mz_orchestration.sinks.watch import Judge

# As a check for each sink is written by hand.
ONE_BY_ONE = "SELECT status, error FROM mz_internal.mz_sink_statuses WHERE name = %s"


def sides(names: list[str]) -> dict[str, Callable[[], Any]]:
    """What is measured, by name; what is kept from one call to the next is made beforehand."""
    import dagster as dg

    from mz_orchestration.dagster import MaterializeResource, build_sink_health_sensor

    looker, judge = Looker(), Judge()
    found = looker.look()
    judge.judge(found)
    sensor = build_sink_health_sensor(names, materialize=MaterializeResource())
    instance = dg.DagsterInstance.ephemeral()
    cursor = [None]
    session = psycopg.connect(autocommit=True)

    def tick() -> dg.SensorResult:
        result = sensor(dg.build_sensor_context(instance, cursor[0]))
        assert isinstance(result, dg.SensorResult)
        cursor[0] = result.cursor
        assert result.cursor
        return result

    def one_by_one() -> None:
        for name in names:
            row = session.execute(ONE_BY_ONE, [name]).fetchone()
            assert row is not None
            assert row[0] == "running"

    def each_its_session() -> None:
        for name in names:
            with psycopg.connect(autocommit=True) as connection:
                assert connection.execute(ONE_BY_ONE, [name]).fetchone() is not None

    tick()
    return {
        "look": looker.look,
        "judge": lambda: judge.judge(found),
        "tick": tick,
        "a query each": one_by_one,
        "a session each": each_its_session,
    }


def measure(count: int, runs: int) -> dict[str, Any]:
    """Seconds and statements of all sides over so many sinks, and the size of a cursor."""
    with LocalStack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.start(Path(folder) / "mz", servers=("s3", "materialize"), port_base=0)
        os.environ.update(stack.environment)
        with psycopg.connect(autocommit=True) as connection:
            names = list(_made(connection, count))
            _wait_until_running(connection, count)
            measured = sides(names)
            seconds: dict[str, list[float]] = {name: [] for name in measured}
            statements: dict[str, int] = {}
            for turn in range(runs + 1):
                for name, side in measured.items():
                    with _counted(stack) as counted:
                        began = time.perf_counter()
                        result = side()
                        passed = time.perf_counter() - began
                    if turn:  # the first is not counted
                        seconds[name].append(round(passed, 5))
                        statements[name] = counted[0]
                    if name == "judge":
                        assert not any(each.severity for each in result.healths.values())
                    if name == "tick":
                        cursor = len(result.cursor)
    return {"sinks": count, "seconds": seconds, "statements": statements, "cursor_bytes": cursor}


def _made(connection: psycopg.Connection, count: int) -> Iterator[str]:
    connection.execute("CREATE TABLE orders (id bigint)")
    connection.execute("CREATE CONNECTION kafka TO KAFKA (BROKER 'b:9092') WITH (VALIDATE = false)")
    for number in range(count):
        connection.execute(
            f"CREATE SINK sink_{number} FROM orders INTO KAFKA CONNECTION kafka (TOPIC 't{number}') FORMAT JSON"
            " ENVELOPE DEBEZIUM".encode()
        )
        yield f"sink_{number}"


def _wait_until_running(connection: psycopg.Connection, count: int) -> None:
    end = time.monotonic() + 120
    ready = "SELECT count(*) FROM mz_internal.mz_sink_statuses WHERE status = 'running'"
    while connection.execute(ready).fetchone() != (count,):
        assert time.monotonic() < end
        time.sleep(0.2)


@contextmanager
def _counted(stack: LocalStack) -> Iterator[list[int]]:
    """How many statements Materialize was sent meanwhile."""
    log = stack.folder / "statements.jsonl"
    before, counted = log.stat().st_size, [0]
    yield counted
    time.sleep(0.2)
    with log.open("rb") as file:
        file.seek(before)
        counted[0] = sum(1 for _ in file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinks", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = []
    for count in arguments.sinks:
        measured = measure(count, arguments.runs)
        medians = {name: statistics.median(values) for name, values in measured["seconds"].items()}
        found.append({**measured, "medians": medians})
        print(
            f"{count:5} sinks  "
            + "  ".join(
                f"{name} {value * 1000:,.1f} ms/{measured['statements'][name]} st" for name, value in medians.items()
            )
            + f"  cursor {measured['cursor_bytes'] / 1024:.0f} KiB",
            flush=True,
        )
    if arguments.json:
        results = {"machine": describe_machine(), "sinks": found}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
