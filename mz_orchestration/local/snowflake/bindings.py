"""Server-side parameters: ``?`` and ``:1`` replaced by literals before a statement is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mz_orchestration.local.snowflake import errors
from mz_orchestration.local.snowflake.lexer import Token, tokenize
from mz_orchestration.local.snowflake.names import literal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bind(sql: str, bindings: dict[str, Any] | None) -> str:
    """The statement with its parameters in place; a bulk INSERT becomes one of many rows."""
    if not bindings:
        return sql
    tokens = tokenize(sql)
    if any(isinstance(b.get("value"), list) for b in bindings.values()):
        return _bulk(sql, tokens, bindings)
    return _fill(sql, tokens, bindings, None)


def count_placeholders(sql: str) -> int:
    """How many ``?`` a statement has."""
    return sum(1 for token in tokenize(sql) if token.kind == "op" and token.text == "?")


def without_values(sql: str) -> str:
    """The statement with NULL for every ``?``, to describe it."""
    nothing = {str(i + 1): {"type": "ANY", "value": None} for i in range(count_placeholders(sql))}
    return _fill(sql, tokenize(sql), nothing, None)


def _fill(sql: str, tokens: list[Token], bindings: dict[str, Any], row: int | None) -> str:
    parts: list[str] = []
    at, ordinal = 0, 0
    for i, token in enumerate(tokens):
        if token.kind != "op":
            continue
        key, end = "", token.end
        if token.text == "?":
            ordinal += 1
            key = str(ordinal)
        elif token.text == ":" and i + 1 < len(tokens) and tokens[i + 1].kind == "number":
            previous = tokens[i - 1] if i else None
            if previous is None or previous.end != token.start:
                key, end = tokens[i + 1].text, tokens[i + 1].end
        if not key:
            continue
        if key not in bindings:
            raise errors.compilation("002049", "42601", f"Bind variable :{key} not set.")
        parts += [sql[at : token.start], _literal(bindings[key], row)]
        at = end
    return "".join([*parts, sql[at:]])


def _bulk(sql: str, tokens: list[Token], bindings: dict[str, Any]) -> str:
    words = [t.upper for t in tokens]
    if words[:1] != ["INSERT"] or "VALUES" not in words:
        raise errors.unsupported("array binding outside INSERT … VALUES", sql)
    head_end = tokens[words.index("VALUES")].end
    body = sql[head_end:]
    count = max(len(b["value"]) for b in bindings.values())
    body_tokens = tokenize(body)
    rows = [_fill(body, body_tokens, bindings, row).strip() for row in range(count)]
    return f"{sql[:head_end]} {', '.join(rows)}"


def _literal(binding: dict[str, Any], row: int | None) -> str:
    kind = str(binding["type"]).upper()
    value = binding["value"] if row is None else binding["value"][row]
    if value is None:
        return "NULL"
    text = str(value)
    match kind:
        case "FIXED":
            return text
        case "REAL":
            return f"{literal(text)}::FLOAT"
        case "BOOLEAN":
            return "TRUE" if text.lower() in {"true", "1"} else "FALSE"
        case "DATE":
            return f"'{(_EPOCH + timedelta(milliseconds=int(text))).date().isoformat()}'::DATE"
        case "TIME":
            return f"'{_moment(text).time().isoformat()}'::TIME"
        case "TIMESTAMP_NTZ":
            return f"'{_moment(text).replace(tzinfo=None).isoformat(sep=' ')}'::TIMESTAMP_NTZ"
        case "TIMESTAMP_LTZ" | "TIMESTAMP_TZ":
            return f"'{_moment(text.split()[0]).isoformat(sep=' ')}'::{kind}"
        case "BINARY":
            return f"TO_BINARY({literal(text)}, 'HEX')"
        case _:
            return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _moment(nanoseconds: str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(nanoseconds) // 1000)
