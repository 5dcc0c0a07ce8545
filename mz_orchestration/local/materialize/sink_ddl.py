"""``CREATE SINK`` and its kin, as calls of the functions in ``sinks.sql``."""

from __future__ import annotations

import json

from mz_orchestration.local.materialize.ddl import OWNER, PATH, array, boolean
from mz_orchestration.local.materialize.errors import StatementError, not_supported
from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.tokens import literal

_FORMATS = ("AVRO", "JSON", "TEXT", "BYTES")


def create_sink(parser: Parser) -> str:
    """``CREATE SINK [IF NOT EXISTS] [name] [IN CLUSTER c] FROM object INTO KAFKA|ICEBERG ...``."""
    lenient = parser.flag_if_exists(negated=True)
    name = parser.qualified_name()
    cluster = "current_setting('mz.cluster')"
    if parser.accept("IN", "CLUSTER"):
        cluster = literal(parser.identifier())
    parser.expect("FROM")
    relation = parser.qualified_name()
    parser.expect("INTO")
    interval = "NULL::interval"
    if parser.accept("KAFKA"):
        parser.expect("CONNECTION")
        kind, connection, options = "kafka", parser.qualified_name(), _kafka(parser)
    elif parser.accept("ICEBERG"):
        parser.expect("CATALOG", "CONNECTION")
        kind, connection = "iceberg", parser.qualified_name()
        options, every = _iceberg(parser)
        interval = f"{literal(every)}::interval"
    else:
        raise not_supported(parser.text)
    parser.end()
    return (
        f"PERFORM mz_local.create_sink({array(name)}, {PATH}, {OWNER}, {boolean(lenient)}, {cluster}, "
        f"{array(relation)}, {literal(kind)}, {array(connection)}, {literal(json.dumps(options))}::jsonb, "
        f"{interval}, {literal(parser.text)});"
    )


def _kafka(parser: Parser) -> dict[str, object]:
    given = _options(parser)
    if "TOPIC" not in given:
        raise StatementError("KAFKA CONNECTION without TOPIC")
    options: dict[str, object] = {"topic": given["TOPIC"], **_key(parser)}
    if parser.accept("HEADERS"):
        parser.identifier()
    if parser.accept("KEY", "FORMAT"):
        options["key_format"] = _format(parser)
        parser.expect("VALUE", "FORMAT")
        options["value_format"] = _format(parser)
    else:
        parser.expect("FORMAT")
        options["value_format"] = _format(parser)
    options["envelope"] = "debezium"
    if parser.accept("ENVELOPE"):
        options["envelope"] = "upsert" if parser.accept("UPSERT") else "debezium"
        if options["envelope"] == "debezium":
            parser.expect("DEBEZIUM")
    if options["envelope"] == "upsert" and not options["keyed"]:
        raise StatementError("ENVELOPE UPSERT requires that KEY be specified")
    snapshot = True
    if parser.accept("WITH"):
        parser.expect("(", "SNAPSHOT")
        parser.accept("=")
        snapshot = not parser.accept("FALSE")
        if snapshot:
            parser.expect("TRUE")
        parser.expect(")")
    return {**options, "snapshot": snapshot}


def _iceberg(parser: Parser) -> tuple[dict[str, object], str]:
    given = _options(parser)
    for name in ("NAMESPACE", "TABLE"):
        if name not in given:
            raise StatementError(f"ICEBERG CATALOG CONNECTION without {name}")
    parser.expect("USING", "AWS", "CONNECTION")
    parser.qualified_name()
    options = _key(parser)
    parser.expect("MODE")
    mode = "upsert" if parser.accept("UPSERT") else "append"
    if mode == "append":
        parser.expect("APPEND")
    if not parser.accept("WITH"):
        raise StatementError("COMMIT INTERVAL is required for ICEBERG sinks")
    parser.expect("(", "COMMIT", "INTERVAL")
    parser.accept("=")
    every = parser.string()
    parser.expect(")")
    found = {"namespace": given["NAMESPACE"], "table": given["TABLE"], "envelope": mode, "snapshot": True}
    return {**options, **found}, every


def _key(parser: Parser) -> dict[str, object]:
    if not parser.looks_at("KEY", "("):
        return {"keyed": False}
    parser.expect("KEY")
    parser.skip_group()
    parser.accept("NOT", "ENFORCED")
    return {"keyed": True}


def _options(parser: Parser) -> dict[str, str]:
    """Options in parentheses: those whose value is one string, by name."""
    found: dict[str, str] = {}
    parser.expect("(")
    while not parser.accept(")"):
        words: list[str] = []
        while (token := parser.peek()) is not None and token.keyword.isidentifier():
            words.append(token.keyword)
            parser.next()
        parser.accept("=")
        token = parser.peek()
        if token is not None and token.kind == "string":
            found[" ".join(words)] = parser.string()
        while (token := parser.peek()) is not None and token.text not in (",", ")"):
            if token.text == "(":
                parser.skip_group()
            else:
                parser.next()
        if not words or (not parser.accept(",") and not parser.looks_at(")")):
            parser.fail("right parenthesis")
    return found


def _format(parser: Parser) -> str:
    word = next((name for name in _FORMATS if parser.accept(name)), None)
    if word is None:
        parser.fail("one of AVRO or BYTES or JSON or TEXT")
    if word == "AVRO":
        parser.expect("USING", "CONFLUENT", "SCHEMA", "REGISTRY", "CONNECTION")
        parser.qualified_name()
    return word.lower()


def drop_sink(parser: Parser) -> str:
    """``DROP SINK [IF EXISTS] name [, ...] [CASCADE|RESTRICT]``."""
    lenient = parser.flag_if_exists(negated=False)
    names = [parser.qualified_name()]
    while parser.accept(","):
        names.append(parser.qualified_name())
    if not parser.accept("CASCADE"):
        parser.accept("RESTRICT")
    parser.end()
    return " ".join(f"PERFORM mz_local.drop_sink({array(name)}, {PATH}, {boolean(lenient)});" for name in names)


def alter_sink(parser: Parser) -> str:
    """``ALTER SINK name SET FROM object`` or ``RENAME TO name``."""
    name = parser.qualified_name()
    if parser.accept("SET", "FROM"):
        relation = parser.qualified_name()
        parser.end()
        return f"PERFORM mz_local.alter_sink({array(name)}, {PATH}, {array(relation)});"
    if parser.accept("RENAME", "TO"):
        new = parser.identifier()
        parser.end()
        return f"PERFORM mz_local.rename_sink({array(name)}, {PATH}, {literal(new)});"
    raise not_supported(parser.text)
