"""``CREATE SINK`` and its kin, as calls of the functions in ``connectors.sql``."""

from __future__ import annotations

import json

from mz_orchestration.local.materialize.ddl import OWNER, PATH, array, boolean
from mz_orchestration.local.materialize.errors import StatementError, not_supported
from mz_orchestration.local.materialize.option_lists import option_list, truth
from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.tokens import literal

_KAFKA_OPTIONS = (
    "TOPIC",
    "COMPRESSION TYPE",
    "TRANSACTIONAL ID PREFIX",
    "PARTITION BY",
    "PROGRESS GROUP ID PREFIX",
    "TOPIC REPLICATION FACTOR",
    "TOPIC PARTITION COUNT",
    "TOPIC CONFIG",
    "TOPIC METADATA REFRESH INTERVAL",
    "LEGACY IDS",
)
_ICEBERG_OPTIONS = ("NAMESPACE", "TABLE")
_WITH_OPTIONS = ("SNAPSHOT", "COMMIT INTERVAL")
_FORMATS = ("AVRO", "BYTES", "JSON", "TEXT")
_KEY_HINT = "See: https://materialize.com/s/sink-key-selection"

Options = dict[str, object]


def create_sink(parser: Parser) -> str:
    """``CREATE SINK [IF NOT EXISTS] name [IN CLUSTER c] FROM object INTO KAFKA|ICEBERG CATALOG ...``."""
    lenient = parser.flag_if_exists(negated=True)
    if parser.looks_at("FROM") or parser.looks_at("IN", "CLUSTER"):
        raise StatementError("unspecified name for sink")
    name = parser.qualified_name()
    cluster = "current_setting('mz.cluster')"
    if parser.accept("IN", "CLUSTER"):
        cluster = literal(parser.identifier())
    parser.expect("FROM")
    relation = parser.qualified_name()
    start = parser.peek()
    parser.expect("INTO")
    aws: tuple[str, ...] | None = None
    if parser.accept("KAFKA", "CONNECTION"):
        kind, connection = "kafka", parser.qualified_name()
        key, options = _kafka(parser)
    elif parser.accept("ICEBERG", "CATALOG", "CONNECTION"):
        kind, connection = "iceberg", parser.qualified_name()
        given = option_list(parser, _ICEBERG_OPTIONS)
        parser.expect("USING", "AWS", "CONNECTION")
        aws = parser.qualified_name()
        key, options = _iceberg(parser, given)
    elif parser.looks_at("KAFKA") or parser.looks_at("ICEBERG"):
        parser.next()
        parser.fail("CONNECTION")
    else:
        raise not_supported(parser.text)
    parser.end()
    tail = parser.text[start.start :] if start is not None else ""
    arguments = (
        array(name),
        PATH,
        OWNER,
        boolean(lenient),
        cluster,
        array(relation),
        literal(kind),
        array(connection),
        "NULL" if aws is None else array(aws),
        array(key),
        f"{literal(json.dumps(options))}::jsonb",
        literal(tail),
    )
    return f"PERFORM mz_local.create_sink({', '.join(arguments)});"


def _kafka(parser: Parser) -> tuple[list[str], Options]:
    given = option_list(parser, _KAFKA_OPTIONS)
    key = _key(parser)
    if parser.accept("HEADERS"):
        parser.identifier()
    options: Options = {}
    if parser.accept("KEY", "FORMAT"):
        options["key_format"] = _format(parser)
        parser.expect("VALUE", "FORMAT")
        options["value_format"] = _format(parser)
    elif parser.accept("FORMAT"):
        options["format"] = options["value_format"] = _format(parser)
        if key:
            options["key_format"] = options["format"]
    else:
        raise StatementError("sink without format")
    envelope = None
    if parser.accept("ENVELOPE"):
        envelope = next((word for word in ("DEBEZIUM", "UPSERT") if parser.accept(word)), None)
        if envelope is None:
            parser.fail("one of DEBEZIUM or UPSERT")
    snapshot = truth(option_list(parser, _WITH_OPTIONS[:1]), "SNAPSHOT", otherwise=True) if _with(parser) else True
    if envelope is None:
        raise StatementError("ENVELOPE clause is required")
    if envelope == "UPSERT" and not key:
        raise StatementError("upsert sinks must specify a key", hint=_KEY_HINT)
    if "TOPIC" not in given:
        raise StatementError("KAFKA CONNECTION must specify TOPIC")
    return key, {**options, "topic": given["TOPIC"], "envelope": envelope.lower(), "snapshot": snapshot}


def _iceberg(parser: Parser, given: dict[str, str]) -> tuple[list[str], Options]:
    key = _key(parser)
    mode = None
    if parser.accept("MODE"):
        mode = next((word for word in ("APPEND", "UPSERT") if parser.accept(word)), None)
        if mode is None:
            parser.fail("one of APPEND or UPSERT")
    extra = option_list(parser, _WITH_OPTIONS) if _with(parser) else {}
    if mode is None:
        raise StatementError("MODE clause is required")
    if mode == "UPSERT" and not key:
        raise StatementError("upsert sinks must specify a key", hint=_KEY_HINT)
    for name in _ICEBERG_OPTIONS:
        if name not in given:
            raise StatementError(f"ICEBERG CATALOG CONNECTION must specify {name}")
    if "COMMIT INTERVAL" not in extra:
        raise StatementError("COMMIT INTERVAL is required for Iceberg sinks")
    return key, {
        "namespace": given["NAMESPACE"],
        "table": given["TABLE"],
        "mode": mode.lower(),
        "commit_interval": extra["COMMIT INTERVAL"],
        "snapshot": truth(extra, "SNAPSHOT", otherwise=True),
    }


def _with(parser: Parser) -> bool:
    return parser.accept("WITH")


def _key(parser: Parser) -> list[str]:
    columns: list[str] = []
    if not parser.accept("KEY", "("):
        return columns
    columns.append(parser.identifier())
    while parser.accept(","):
        columns.append(parser.identifier())
    parser.expect(")")
    # What is not enforced in Materialize is not here, and neither is the rest: PostgreSQL knows too few keys.
    parser.accept("NOT", "ENFORCED")
    return columns


def _format(parser: Parser) -> str:
    word = next((name for name in _FORMATS if parser.accept(name)), None)
    if word is None:
        parser.fail("one of AVRO or BYTES or JSON or TEXT")
    if word == "AVRO":
        parser.expect("USING", "CONFLUENT", "SCHEMA", "REGISTRY", "CONNECTION")
        parser.qualified_name()
        if parser.looks_at("("):
            parser.skip_group()
    return word.lower()


def alter_sink(parser: Parser) -> str:
    """``ALTER SINK [IF EXISTS] name SET FROM object | RENAME TO name | OWNER TO role``."""
    lenient = parser.flag_if_exists(negated=False)
    name = parser.qualified_name()
    which = f"{array(name)}, {PATH}"
    if parser.accept("SET", "FROM"):
        relation = parser.qualified_name()
        call = f"alter_sink_from({which}, {OWNER}, {boolean(lenient)}, {array(relation)})"
    elif parser.accept("RENAME", "TO"):
        call = f"rename_sink({which}, {boolean(lenient)}, {literal(parser.identifier())})"
    elif parser.accept("OWNER", "TO"):
        call = f"own_sink({which}, {boolean(lenient)}, {literal(parser.identifier())})"
    else:
        raise not_supported(parser.text)
    parser.end()
    return f"PERFORM mz_local.{call};"
