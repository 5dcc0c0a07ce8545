"""How a value becomes a value of another type: DuckDB expressions that convert and complain as Snowflake does."""

from __future__ import annotations

from mz_orchestration.local.snowflake.errors import sql_raise
from mz_orchestration.local.snowflake.types import SfType

_TRUE = "('true', 't', 'yes', 'y', 'on', '1')"
_FALSE = "('false', 'f', 'no', 'n', 'off', '0')"
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "HUGEINT"}


def is_nested(duck_type: str) -> bool:
    """Whether a DuckDB type is a list, struct or map."""
    return duck_type.endswith("]") or duck_type.startswith(("STRUCT", "MAP"))


def to_json(expression: str, source: str) -> str:
    """A VARIANT of the value: a string stays a string, also when it looks like JSON."""
    if source == "JSON":
        return expression
    if source == "BLOB":
        return f"to_json(hex({expression}))"
    return f"to_json({expression})"


def cast(expression: str, source: str, target: SfType, *, parse_variant: bool = False) -> str:
    """A DuckDB expression for ``expression`` (of DuckDB type ``source``) as a value of ``target``.

    Args:
        expression: DuckDB SQL; used more than once, so it must be cheap.
        source: its DuckDB type.
        target: the column's type.
        parse_variant: text bound for a semi-structured column is JSON to parse (CSV fields), not a string.
    """
    if source == '"NULL"':
        return f"CAST(NULL AS {target.duck})"
    if target.duck == "JSON":
        return _semi_structured(expression, source, target, parse_variant)
    if source == "JSON":
        expression, source = f"({expression} ->> '$')", "VARCHAR"
    text = source == "VARCHAR"
    match target.name:
        case "NUMBER":
            return _number(expression, source, target)
        case "TEXT":
            return _text(expression, source)
        case "BINARY" if text:
            bad = sql_raise(
                "100115", "22000", "The following string is not a legal hex-encoded value: '", expression, "'"
            )
            legal = f"regexp_full_match({expression}, '([0-9A-Fa-f]{{2}})*')"
            return f"CASE WHEN {expression} IS NULL OR {legal} THEN unhex({expression}) ELSE {bad} END"
        case "BOOLEAN" if text:
            bad = sql_raise("100037", "22018", "Boolean value '", expression, "' is not recognized")
            return (
                f"CASE WHEN {expression} IS NULL THEN NULL WHEN lower({expression}) IN {_TRUE} THEN TRUE "
                f"WHEN lower({expression}) IN {_FALSE} THEN FALSE ELSE {bad} END"
            )
        case "TIMESTAMP_NTZ" if text:
            # The wall clock of the text is kept and its offset dropped.
            bare = rf"regexp_replace({expression}, '(:\d\d(\.\d+)?)\s*([+-]\d\d(:?\d\d)?|Z)$', '\1')"
            return _moment(bare, expression, "TIMESTAMP", "100035", "Timestamp")
        case "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" if text:
            tight = rf"regexp_replace({expression}, '\s+([+-]\d\d(:?\d\d)?)$', '\1')"
            return _moment(tight, expression, "TIMESTAMPTZ", "100035", "Timestamp")
        case "DATE" if text:
            return _moment(expression, expression, "DATE", "100040", "Date")
        case "TIME" if text:
            return _moment(expression, expression, "TIME", "100108", "Time")
        case "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" if source in _INTEGERS:
            # A bare integer carries no unit; it is taken for milliseconds, so microseconds land in the far
            # future, which is how USE_LOGICAL_TYPE = FALSE spoils timestamps.
            return f"CAST(make_timestamp_ms({expression}) AS {target.duck})"
        case _:
            return f"CAST({expression} AS {target.duck})"


def _semi_structured(expression: str, source: str, target: SfType, parse_variant: bool) -> str:
    parsed = source == "VARCHAR" and parse_variant
    value = f"json({expression})" if parsed else to_json(expression, source)
    if target.name == "VARIANT":
        return value
    wrong = sql_raise("100071", "22000", f"Failed to cast variant value to {target.name}: ", value)
    if target.name == "ARRAY":
        # NULL and a JSON null become NULL; anything else that is no array becomes an array of one.
        none = f"coalesce(json_type({value}), 'NULL') = 'NULL'"
        return f"CASE WHEN {none} THEN NULL WHEN json_type({value}) = 'ARRAY' THEN {value} ELSE json_array({value}) END"
    return f"CASE WHEN {value} IS NULL OR json_type({value}) = 'OBJECT' THEN {value} ELSE {wrong} END"


def _number(expression: str, source: str, target: SfType) -> str:
    if source == "UBIGINT":
        expression = signed(expression)
    if source == "BOOLEAN":
        expression = f"CAST({expression} AS INTEGER)"
    if source != "VARCHAR":
        return f"CAST({expression} AS {target.duck})"
    unknown = sql_raise("100038", "22018", "Numeric value '", expression, "' is not recognized")
    too_large = sql_raise("100039", "22003", "Numeric value '", expression, "' is out of range")
    number = f"TRY_CAST({expression} AS {target.duck})"
    return (
        f"CASE WHEN {expression} IS NULL THEN NULL WHEN {number} IS NOT NULL THEN {number} "
        f"WHEN isfinite(TRY_CAST({expression} AS DOUBLE)) THEN {too_large} ELSE {unknown} END"
    )


def signed(expression: str) -> str:
    """An unsigned integer as Snowflake's reader takes it: signed 64-bit integers only."""
    bad = sql_raise("100039", "22003", "Numeric value '", expression, "' is out of range")
    return f"CASE WHEN {expression} > 9223372036854775807 THEN {bad} ELSE {expression} END"


def _text(expression: str, source: str) -> str:
    if source == "BLOB":
        return f"hex({expression})"
    if is_nested(source):
        return f"CAST(to_json({expression}) AS VARCHAR)"
    if source == "TIMESTAMP":
        return f"strftime({expression}, '%Y-%m-%d %H:%M:%S.%g')"
    if source == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({expression}, '%Y-%m-%d %H:%M:%S.%g %z')"
    return f"CAST({expression} AS VARCHAR)"


def _moment(expression: str, shown: str, duck_type: str, code: str, kind: str) -> str:
    bad = sql_raise(code, "22007", f"{kind} '", shown, "' is not recognized")
    value = f"TRY_CAST({expression} AS {duck_type})"
    return f"CASE WHEN {shown} IS NULL THEN NULL WHEN {value} IS NOT NULL THEN {value} ELSE {bad} END"
