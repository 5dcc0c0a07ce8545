"""Fills Materialize with a shop to export: customers, orders, order lines, payments and a view over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mz_orchestration.local.environment import MATERIALIZE_DATABASE, MATERIALIZE_USER
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.seed_statements import ORDER_TOTALS, SINK_CLUSTER, SINKS, TABLES, Sizes, inserts
from mz_orchestration.local.state import HOST, State

if TYPE_CHECKING:
    import psycopg

#: Called after each relation with its name, its rows and the seconds it took.
Report = Callable[[str, int, float], None]


def seed_shop(state: State, *, rows: int, seed: int, report: Report) -> dict[str, int]:
    """Replace the shop's data.

    Args:
        state: A running stack.
        rows: Number of order lines; the other tables follow from it.
        seed: The same seed gives the same rows.
        report: Told about each relation.

    Returns:
        Rows per relation.

    Raises:
        LocalStackError: Materialize does not run here, or refused.
    """
    with _connected(state) as connection:
        return fill(connection, rows=rows, seed=seed, report=report)


def seed_sinks(state: State) -> None:
    """Create what is missing of two streaming sinks of the shop, on a cluster of their own.

    Nothing leaves the machine: sinks of the local Materialize only count what they would write.

    Args:
        state: A running stack with the shop's data.

    Raises:
        LocalStackError: Materialize does not run here, or refused.
    """
    with _connected(state) as connection:
        there = connection.execute("SELECT name FROM mz_clusters WHERE name = 'sinks'").fetchone()
        for statement in SINKS if there else (SINK_CLUSTER, *SINKS):
            connection.execute(statement)


@contextmanager
def _connected(state: State) -> Iterator[psycopg.Connection]:
    import psycopg

    if "materialize" not in state.servers:
        raise LocalStackError("this stack was started without Materialize, so there is nothing to seed")
    try:
        with psycopg.connect(
            host=HOST,
            port=state.servers["materialize"].port,
            user=MATERIALIZE_USER,
            password=state.secrets.materialize_password,
            dbname=MATERIALIZE_DATABASE,
            application_name="mz-orchestration local seed",
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=20,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise LocalStackError(
            f"seeding failed: {error.diag.message_primary or error}. Its log: {state.servers['materialize'].log}"
        ) from error


def fill(connection: psycopg.Connection, *, rows: int, seed: int, report: Report) -> dict[str, int]:
    """Create what is missing in schema ``shop``, empty the tables and fill them.

    Objects built on the tables stay, which is why they are emptied rather than dropped.

    Args:
        connection: In autocommit mode: Materialize allows neither DDL nor INSERT … SELECT among other statements.
        rows: Number of order lines.
        seed: The same seed gives the same rows.
        report: Told about each relation.

    Returns:
        Rows per relation.
    """
    from psycopg import sql

    counts: dict[str, int] = {}
    connection.execute("CREATE SCHEMA IF NOT EXISTS shop")
    for create in TABLES.values():
        connection.execute(create)
    connection.execute(ORDER_TOTALS)
    for table, statement in inserts(Sizes.of(rows), seed).items():
        begun = time.monotonic()
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("shop", table)))
        counts[table] = connection.execute(statement).rowcount
        report(table, counts[table], time.monotonic() - begun)
    begun = time.monotonic()
    row = connection.execute("SELECT count(*) FROM shop.order_totals").fetchone()
    assert row is not None
    counts["order_totals"] = int(row[0])
    report("order_totals", counts["order_totals"], time.monotonic() - begun)
    return counts
