"""Every type keeps its value on the whole way: by default, as it is, and cast as asked for."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from mz_orchestration.errors import ConfigurationError, ExportError
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.session import SnowflakeSession

from .conftest import Exports, Load

_DIGITS = "12345678901234567890123.4567890123456789"
_UUID = "01234567-89ab-cdef-fedc-ba9876543210"
_EXTENSION = b"ARROW:extension:name"

# A value in SQL, the type Parquet gives it, what Materialize calls that, and the value in Snowflake.
VALUES: dict[str, tuple[str, pa.DataType, str, object]] = {
    "a_boolean": ("true", pa.bool_(), "boolean", True),
    "a_smallint": ("'-32768'::smallint", pa.int16(), "smallint", -32768),
    "an_integer": ("2147483647", pa.int32(), "integer", 2147483647),
    "a_bigint": ("9223372036854775807", pa.int64(), "bigint", 9223372036854775807),
    "an_oid": ("4294967295::oid", pa.uint32(), "oid", 4294967295),
    "a_real": ("1.5::real", pa.float32(), "real", 1.5),
    "a_double": ("1e300::double precision", pa.float64(), "double", 1e300),
    "a_number": ("'-99999999.99'::numeric(10, 2)", pa.decimal128(38, 2), "numeric", Decimal("-99999999.99")),
    "a_numeric": (f"{_DIGITS}::numeric", pa.large_utf8(), "text", _DIGITS),
    "a_nan": ("'NaN'::numeric", pa.large_utf8(), "text", "NaN"),
    "a_date": ("date '0001-01-01'", pa.date32(), "date", dt.date(1, 1, 1)),
    "a_time": ("time '23:59:59.999999'", pa.time64("us"), "time", dt.time(23, 59, 59, 999999)),
    "a_timestamp": (
        "timestamp '9999-12-31 23:59:59.999999'",
        pa.timestamp("us"),
        "timestamp",
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    ),
    "a_timestamptz": (
        "timestamptz '2024-06-30 23:30:00.000001-07'",
        pa.timestamp("us", "+00:00"),
        "timestamptz",
        dt.datetime(2024, 7, 1, 6, 30, 0, 1, dt.UTC),
    ),
    "an_interval": ("interval '1 year 03:04:05.000006'", pa.large_utf8(), "text", "1 year 03:04:05.000006"),
    "a_bytea": ("'\\x00ff22'::bytea", pa.large_binary(), "bytea", b'\x00\xff"'),
    "a_text": ("E'е́ \"🛒\",\\r\\nend'::text", pa.large_utf8(), "text", 'е́ "🛒",\r\nend'),
    "an_empty_text": ("''::text", pa.large_utf8(), "text", ""),
    "a_varchar": ("'日本'::varchar(3)", pa.utf8(), "text", "日本"),
    "a_char": ("'abc'::char(3)", pa.utf8(), "text", "abc"),
    "a_uuid": (f"'{_UUID}'::uuid", pa.large_utf8(), "text", _UUID),
    "a_jsonb": ("'{\"k\": [1, null, \"a, b\"]}'::jsonb", pa.large_utf8(), "jsonb", {"k": [1, None, "a, b"]}),
    "an_int4range": ("int4range(1, 5)", pa.large_utf8(), "text", "[1,5)"),
    "a_tstzrange": (
        "tstzrange('2024-01-01 00:00+01', NULL)",
        pa.large_utf8(),
        "text",
        '["2023-12-31 23:00:00+00",)',
    ),
    "a_record": ("ROW(1, 'a b', NULL::text)", pa.large_utf8(), "text", '(1,"a b",)'),
    "a_name": ("'n'::name", pa.large_utf8(), "text", "n"),
    "a_regtype": ("regtype 'int'", pa.large_utf8(), "text", "integer"),
    "integers": ("'{{1,2},{3,NULL}}'::int[]", pa.large_utf8(), "jsonb", [[1, 2], [3, None]]),
    "bigints": ("'{9223372036854775807}'::bigint[]", pa.large_utf8(), "jsonb", [9223372036854775807]),
    "reals": (
        "'{Infinity,NaN,1e-45,0.1,NULL}'::real[]",
        pa.large_utf8(),
        "jsonb",
        ["Infinity", "NaN", "1e-45", "0.1", None],
    ),
    "doubles": ("'{{1e300},{-5e-324}}'::float8[]", pa.large_utf8(), "jsonb", [["1e+300"], ["-5e-324"]]),
    "texts": ("ARRAY['', 'a,\"b\"', NULL]", pa.large_utf8(), "jsonb", ["", 'a,"b"', None]),
    "no_texts": ("'{}'::text[]", pa.large_utf8(), "jsonb", []),
    "uuids": (f"ARRAY['{_UUID}'::uuid]", pa.large_utf8(), "jsonb", [_UUID]),
    "intervals": ("ARRAY[interval '1 day']", pa.large_utf8(), "jsonb", ["1 day"]),
}  # fmt: skip
_JSON = {"a_jsonb", "integers", "bigints", "reals", "doubles", "texts", "no_texts", "uuids", "intervals"}


def _query(values: dict[str, tuple[str, pa.DataType, str, object]]) -> str:
    """One row of values and one of NULLs; NULLIF keeps the type, and JSON has no order to compare by."""
    columns = ", ".join(f"{expression} AS {name}" for name, (expression, *_) in values.items())
    nothing = ", ".join(f"q.{name}" for name in values)
    return (
        f"SELECT 1 AS id, {nothing} FROM (SELECT {columns}) AS q UNION ALL"
        f" SELECT 2, {nothing} FROM (SELECT 1) AS one LEFT JOIN (SELECT {columns}) AS q ON false"
    )


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_every_value_arrives(export: Exports, load: Load, format: str) -> None:
    manifest = export(_query(VALUES), format)
    assert (manifest.rows, manifest.copied) == (2, 2)
    row, nothing = [
        {name: json.loads(value) if name in _JSON and value is not None else value for name, value in one.items()}
        for one in load(manifest)
    ]
    assert row == {"id": 1} | {name: value for name, (*_, value) in VALUES.items()}
    assert nothing == {"id": 2} | dict.fromkeys(VALUES)


def test_what_the_files_say(export: Exports) -> None:
    manifest = export(_query(VALUES))
    schema = export.table(manifest).schema
    found = {f.name: (f.type, f.metadata[_EXTENSION].decode().removeprefix("materialize.v1.")) for f in schema}
    assert found == {"id": (pa.int32(), "integer")} | {name: (a, e) for name, (_, a, e, _) in VALUES.items()}
    said = [note for note in export.notes if " is exported as " in note]
    assert [note.split()[0] for note in said] == [column.name for column in manifest.columns if column.cast]
    assert any(note.startswith("a_numeric numeric is exported as text: ") for note in said)
    assert any("--cast 'a_numeric=numeric(38,2)'" in note for note in said)


RAW: dict[str, tuple[str, str, object]] = {
    "a_uuid": (f"'{_UUID}'::uuid", "uuid", bytes.fromhex(_UUID.replace("-", ""))),
    "a_numeric": ("1.5::numeric", "numeric", Decimal("1.5")),
    "texts": ("ARRAY['a', NULL]", "array", {"items": ["a", None], "dimensions": 1}),
    "a_daterange": (
        "daterange('2024-01-01', '2024-02-01')",
        "range",
        {
            "lower": dt.date(2024, 1, 1),
            "upper": dt.date(2024, 2, 1),
            "lower_inclusive": True,
            "upper_inclusive": False,
            "empty": False,
        },
    ),
}


def test_columns_as_materialize_writes_them(export: Exports, load: Load) -> None:
    query = f"SELECT {', '.join(f'{expression} AS {name}' for name, (expression, *_) in RAW.items())}"
    manifest = export(query, safe_types=False)
    assert all(column.cast is None for column in manifest.columns)
    table = export.table(manifest)
    assert {f.name: f.metadata[_EXTENSION].decode().rpartition(".")[2] for f in table.schema} == {
        name: extension for name, (_, extension, _) in RAW.items()
    }
    assert table.to_pylist() == [{name: value for name, (*_, value) in RAW.items()}]
    assert any("a_numeric is numeric without a scale" in note for note in export.notes)
    with pytest.raises(ConfigurationError, match=r"misread these columns.*: a_uuid, texts, a_daterange"):
        load(manifest)


def test_casts_of_ones_own(export: Exports, load: Load) -> None:
    query = (
        f"SELECT 1.005::numeric AS total, '{_UUID}'::uuid AS id, ARRAY['a'] AS tags, timestamp '2024-01-01' AS at,"
        " 9223372036854775807 AS big, 'Infinity'::real AS far, 'Alice'::text AS short, '{\"a\": 1}'::text AS body,"
        " json '[1]' AS old, 'n'::text AS \"Odd = name\""
    )
    casts = {
        "big": "jsonb",
        "far": "jsonb",
        "short": "varchar(3)",
        "total": "decimal(38, 2)",
        "tags": "text",
        "at": "date",
        "body": "jsonb",
        "old": "text",
        "Odd = name": "varchar(9)",
    }
    manifest = export(query, casts=casts)
    assert {c.name: c.cast for c in manifest.columns} == {
        "total": "numeric(38,2)",
        "id": "text",
        "tags": "text",
        "at": "date",
        "big": "jsonb",
        "far": "jsonb",
        "short": "varchar(3)",
        "body": "jsonb",
        "old": "text",
        "Odd = name": "varchar(9)",
    }
    assert "short text is exported as varchar(3), as asked for; longer values are cut silently." in export.notes
    assert "total numeric is exported as numeric(38,2), as asked for." in export.notes
    [row] = load(manifest)
    assert [json.loads(row.pop(name)) for name in ("body", "big", "far")] == [{"a": 1}, 9223372036854775807, "Infinity"]
    assert row == {
        "total": Decimal("1.01"),
        "id": _UUID,
        "tags": "{a}",
        "at": dt.date(2024, 1, 1),
        "short": "Ali",
        "old": "[1]",
        "odd = name": "n",
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("'NaN'::numeric", "Cannot represent special numeric value NaN in parquet"),
        ("0.12345678901::numeric", "cannot represent decimal value 0.12345678901 in column with scale 10"),
    ],
)
def test_a_number_parquet_cannot_hold(export: Exports, value: str, message: str) -> None:
    with pytest.raises(ExportError, match=message) as raised:
        export(f"SELECT 1 AS id, 1.50::numeric AS price, {value} AS big", safe_types=False)
    assert "one of these columns: price, big." in raised.value.hint
    assert "--cast price=text" in raised.value.hint


def test_a_type_parquet_has_not(export: Exports) -> None:
    with pytest.raises(ExportError, match=r"Cannot encode the following columns/types") as raised:
        export("SELECT 1 AS id, ROW(1, 'a') AS \"the pair\"", safe_types=False)
    assert "the type of these columns: the pair. --cast 'the pair=text' exports it" in raised.value.hint


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_nothing_of_every_type(export: Exports, load: Load, snowflake: SnowflakeSession, format: str) -> None:
    manifest = export(f"SELECT * FROM ({_query(VALUES)}) AS q WHERE false", format)
    assert (manifest.rows, len(manifest.files)) == (0, 1)
    assert load(manifest) == []
    described = snowflake.query(
        Sql(
            "SELECT COLUMN_NAME, DATA_TYPE FROM DEMO.INFORMATION_SCHEMA.COLUMNS"
            " WHERE TABLE_NAME = 'TEST_NOTHING_OF_EVERY_TYPE_" + format.upper() + "' ORDER BY ORDINAL_POSITION"
        )
    ).rows
    types: dict[str, Any] = {row["column_name"].lower(): row["data_type"] for row in described}
    assert list(types) == ["id", *VALUES]
    assert {types[name] for name in _JSON - {"a_jsonb"}} == {"ARRAY"}
    assert (types["a_jsonb"], types["a_numeric"], types["a_number"]) == ("VARIANT", "TEXT", "NUMBER")
