"""SUBSCRIBE through cursors and COPY: what is there, what changes, and how far time has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from .conftest import StandIn

Connection = psycopg.Connection[Any]


@pytest.fixture
def db(server: StandIn) -> Iterator[Connection]:
    with server.connect() as connection:
        connection.execute("CREATE TABLE watched (id bigint, v text)")
        connection.execute("INSERT INTO watched VALUES (1, 'a'), (2, 'b')")
        yield connection
        connection.execute("DROP TABLE watched")


@pytest.fixture
def reader(server: StandIn, db: Connection) -> Iterator[Connection]:
    with server.connect(row_factory=namedtuple_row) as connection:
        yield connection


def declare(connection: Connection, subscribe: str) -> None:
    connection.execute("BEGIN")
    connection.execute(f"DECLARE c CURSOR FOR SUBSCRIBE {subscribe}".encode())


def fetch(connection: Connection, timeout: str = "5s") -> list[Any]:
    return connection.execute(f"FETCH ALL c WITH (timeout = '{timeout}')".encode()).fetchall()


def test_a_snapshot_and_what_changes(reader: Connection, db: Connection) -> None:
    declare(reader, "watched")
    rows = fetch(reader)
    assert sorted(row[1:] for row in rows) == [(1, 1, "a"), (1, 2, "b")]
    assert rows[0]._fields == ("mz_timestamp", "mz_diff", "id", "v")
    assert isinstance(rows[0].mz_timestamp, Decimal)
    assert fetch(reader, "0s") == []
    db.execute("UPDATE watched SET v = 'c' WHERE id = 1")
    changed = fetch(reader)
    assert sorted(row[1:] for row in changed) == [(-1, 1, "a"), (1, 1, "c")]
    assert changed[0].mz_timestamp > rows[0].mz_timestamp


def test_nothing_within_the_time(reader: Connection) -> None:
    declare(reader, "watched WITH (SNAPSHOT = false)")
    began = time.monotonic()
    assert fetch(reader, "600ms") == []
    assert 0.5 <= time.monotonic() - began < 3


def test_progress(reader: Connection, db: Connection) -> None:
    declare(reader, "(SELECT id FROM watched WHERE id = 1) WITH (PROGRESS)")
    rows = fetch(reader)
    assert [tuple(row[1:]) for row in rows[:2]] == [(True, None, None), (False, 1, 1)]
    # About once a second.
    later = fetch(reader)
    assert [tuple(row[1:]) for row in later] == [(True, None, None)]
    assert later[0].mz_timestamp > rows[-1].mz_timestamp


def test_upsert(reader: Connection, db: Connection) -> None:
    declare(reader, "watched ENVELOPE UPSERT (KEY (v)) WITH (SNAPSHOT = false)")
    fetch(reader, "0s")
    db.execute("UPDATE watched SET id = 7 WHERE v = 'a'")
    [row] = fetch(reader)
    assert row._fields == ("mz_timestamp", "mz_state", "v", "id")
    assert tuple(row[1:]) == ("upsert", "a", 7)
    db.execute("DELETE FROM watched WHERE v = 'a'")
    assert [tuple(row[1:]) for row in fetch(reader)] == [("delete", "a", None)]


def test_it_is_the_only_read_of_its_transaction(reader: Connection) -> None:
    declare(reader, "watched")
    with pytest.raises(psycopg.Error, match="must be the only read statement") as error:
        reader.execute("SELECT * FROM watched")
    assert error.value.sqlstate == "25000"
    reader.execute("ROLLBACK")
    assert reader.execute("SELECT count(*) FROM watched").fetchall() == [(2,)]
    with pytest.raises(psycopg.Error, match="cursor"):
        reader.execute("FETCH ALL c")


def test_cancelling(reader: Connection) -> None:
    declare(reader, "watched WITH (SNAPSHOT = false)")
    threading.Timer(0.5, reader.cancel_safe).start()
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        reader.execute("FETCH ALL c")
    assert time.monotonic() - began < 5


def test_ordinary_cursors_are_as_before(reader: Connection) -> None:
    with reader.transaction():
        reader.execute("DECLARE c CURSOR FOR SELECT id FROM watched ORDER BY 1")
        assert reader.execute("FETCH 1 c").fetchall() == [(1,)]
        assert reader.execute("FETCH ALL FROM c").fetchall() == [(2,)]
    with reader.transaction(), reader.cursor("named") as cursor:
        cursor.execute("SELECT id FROM watched WHERE id < %s", [2])
        assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("DECLARE c CURSOR FOR SUBSCRIBE nothing", "unknown catalog item"),
        ("DECLARE c CURSOR FOR SUBSCRIBE watched ENVELOPE UPSERT (KEY (x))", "x"),
        ("DECLARE c CURSOR FOR SUBSCRIBE watched ENVELOPE DEBEZIUM (KEY (id))", "does not support"),
        ("DECLARE c CURSOR FOR SUBSCRIBE watched AS OF 5", "nothing of the past"),
        ("DECLARE c CURSOR FOR SUBSCRIBE watched WITH (HASTE)", "PROGRESS"),
    ],
)
def test_what_is_refused(reader: Connection, statement: str, text: str) -> None:
    reader.execute("BEGIN")
    with pytest.raises(psycopg.Error, match=text):
        reader.execute(statement.encode())


def copied(connection: Connection, subscribe: str, rows: int) -> list[tuple[str, ...]]:
    """The first rows of a COPY, which is then cancelled."""
    found: list[tuple[str, ...]] = []
    statement = f"COPY (SUBSCRIBE {subscribe}) TO STDOUT".encode()
    with suppress(psycopg.errors.QueryCanceled), connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in copy.rows():
            found.append(row)
            if len(found) == rows:
                connection.cancel()
    return found


def test_copy_tells_the_same(reader: Connection, db: Connection) -> None:
    db.execute("INSERT INTO watched VALUES (3, e'tab\\t and \\\\'), (4, NULL)")
    rows = copied(reader, "watched", 4)
    assert sorted(row[1:] for row in rows) == [
        ("1", "1", "a"),
        ("1", "2", "b"),
        ("1", "3", "tab\t and \\"),
        ("1", "4", None),
    ]
    # The session goes on.
    assert reader.execute("SELECT 1").fetchone() == (1,)


def test_copy_with_its_format(reader: Connection, db: Connection) -> None:
    for options in ("(FORMAT text)", "WITH (FORMAT = text)"):
        with reader.cursor() as cursor, cursor.copy(f"COPY (SUBSCRIBE watched UP TO 1) TO STDOUT {options}") as copy:
            assert list(copy.rows()) == []


def test_copy_with_changes_and_progress(reader: Connection, db: Connection) -> None:
    timer = threading.Timer(1.0, db.execute, ["UPDATE watched SET v = 'c' WHERE id = 1"])
    timer.start()
    rows = copied(reader, "watched ENVELOPE UPSERT (KEY (id)) WITH (PROGRESS, SNAPSHOT = false)", 4)
    timer.join()
    assert {row[1] for row in rows} == {"t", "f"}
    assert [row[2:] for row in rows if row[1] == "f"] == [("upsert", "1", "c")]


def test_copy_that_ends_by_itself(reader: Connection, db: Connection) -> None:
    soon = int((time.time() + 2) * 1000)
    with reader.cursor() as cursor:
        with cursor.copy(f"COPY (SUBSCRIBE watched UP TO {soon}) TO STDOUT".encode()) as copy:
            assert len(list(copy.rows())) == 2
        assert cursor.rowcount == 2
