"""Any text and any column name comes back from the files as it was, whatever quotes and line breaks it holds."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from .conftest import Bucket, StandIn

# PostgreSQL's text holds no NUL, and UTF-8 no surrogates.
_CHARACTERS = st.one_of(st.sampled_from(",\"'\\\r\n\t ;|.{}"), st.characters(codec="utf-8", exclude_characters="\0"))
_TEXTS = st.one_of(st.none(), st.text(_CHARACTERS, max_size=12))
# A name has at most 63 bytes there.
_NAMES = st.text(_CHARACTERS, min_size=1, max_size=15)
# Many values in each example, since each is two exports.
_QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_folders = itertools.count(1)

Export = Callable[[sql.Composable, str], Bucket]


@pytest.fixture
def export(connection: psycopg.Connection[Any], s3: Any) -> Export:
    """Copies a query into a folder of its own, which Hypothesis needs for each example."""

    def run(query: sql.Composable, options: str) -> Bucket:
        into = Bucket(s3, f"text-{next(_folders):04}/")
        connection.execute(
            sql.SQL("COPY ({}) TO {} WITH ({}, AWS CONNECTION = local_s3)").format(
                query, sql.Literal(into.uri), sql.SQL(options)
            )
        )
        return into

    return run


@_QUICK
@given(st.lists(_TEXTS, min_size=1, max_size=80))
@example(["", None, "\\.", "\\N", "NULL", '"', '""', "\r", "\n", "\r\n", ",", "\\", "\\\\", "a\\", "﻿", " "])
def test_text_comes_back(export: Export, texts: list[str | None]) -> None:
    rows = sql.SQL(", ").join(
        sql.SQL("({}, {}::text)").format(sql.Literal(i), sql.Literal(text)) for i, text in enumerate(texts)
    )
    query = sql.SQL("SELECT i, t FROM (VALUES {}) AS v (i, t)").format(rows)
    table = export(query, "FORMAT parquet").table().sort_by("i")
    assert table["t"].to_pylist() == texts
    # The csv module cannot tell NULL from '': a NULL of its own does.
    body = export(query, "FORMAT csv, NULL '<null>'").csv().decode()
    found = dict(csv.reader(io.StringIO(body, newline="")))
    assert [found[str(i)] for i in range(len(texts))] == ["<null>" if text is None else text for text in texts]
    assert len(found) == len(texts)


@_QUICK
@given(st.lists(_NAMES, min_size=2, max_size=30, unique=True))
@example(["a b", 'say "x"', "A", "a", "a.b", "ключ", "🛒", "\n", ",", "?column?", "$1", "a\\b", "select"])
def test_names_come_back(export: Export, names: list[str]) -> None:
    # Longer than any name.
    values = [f"the value of column {i}" for i in range(len(names))]
    listed = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.Literal(value), sql.Identifier(name))
        for value, name in zip(values, names, strict=True)
    )
    query = sql.SQL("SELECT {}").format(listed)
    table = export(query, "FORMAT parquet").table()
    assert table.schema.names == names
    assert [column.to_pylist() for column in table.columns] == [[value] for value in values]
    body = export(query, "FORMAT csv, HEADER").csv().decode()
    records = list(csv.reader(io.StringIO(body, newline="")))
    # Every batch's file has the header; which batch the row is in is nobody's business.
    assert names in records
    assert [record for record in records if record != names] == [values]


def test_a_thousand_columns(server: StandIn, export: Export) -> None:
    names = [f'Column {i} "of" 1.000, ключ' for i in range(1000)]
    listed = sql.SQL(", ").join(
        sql.SQL("{} + i AS {}").format(sql.Literal(n), sql.Identifier(name)) for n, name in enumerate(names)
    )
    query = sql.SQL("SELECT {} FROM generate_series(0, 2) AS g (i)").format(listed)
    table = export(query, "FORMAT parquet").table()
    assert table.schema.names == names
    assert table.schema.types == [pa.int32()] * 1000
    assert sorted(table[999].to_pylist()) == [999, 1000, 1001]
    lines = export(query, "FORMAT csv").csv().decode().splitlines()
    assert sorted(lines) == sorted(",".join(str(n + i) for n in range(1000)) for i in range(3))
