"""The DDL only Materialize has, as calls of the functions in ``schema.sql``.

Each function reads a statement after its first words and returns PL/pgSQL statements for the body of a DO.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from mz_orchestration.local.materialize.connection_options import CONNECTION_OPTIONS, connection_options
from mz_orchestration.local.materialize.errors import StatementError, not_supported
from mz_orchestration.local.materialize.parsing import Parser
from mz_orchestration.local.materialize.tokens import identifier, literal

#: The search path, and the role, of whoever sends a statement.
PATH = "current_schemas(false)"
OWNER = "current_user::regrole::oid"

_AWS_OPTIONS = (
    "ASSUME ROLE ARN",
    "ASSUME ROLE SESSION NAME",
    "ACCESS KEY ID",
    "SECRET ACCESS KEY",
    "SESSION TOKEN",
    "ENDPOINT",
    "REGION",
)
_LONG_KINDS = {
    "aws-privatelink": ("AWS", "PRIVATELINK"),
    "confluent-schema-registry": ("CONFLUENT", "SCHEMA", "REGISTRY"),
    "iceberg-catalog": ("ICEBERG", "CATALOG"),
    "sql-server": ("SQL", "SERVER"),
}


def array(parts: Iterable[str]) -> str:
    """The names as an SQL array."""
    return "ARRAY[" + ", ".join(literal(part) for part in parts) + "]::text[]"


def create_secret(parser: Parser) -> str:
    """``CREATE SECRET [IF NOT EXISTS] name AS value``."""
    lenient = parser.flag_if_exists(negated=True)
    name = parser.qualified_name()
    parser.expect("AS")
    value = parser.rest() or parser.fail("an expression")
    return f"PERFORM mz_local.create_secret({array(name)}, {PATH}, {OWNER}, {boolean(lenient)}, ({value}\n));"


def alter_secret(parser: Parser) -> str:
    """``ALTER SECRET [IF EXISTS] name AS value``."""
    lenient = parser.flag_if_exists(negated=False)
    name = parser.qualified_name()
    parser.expect("AS")
    value = parser.rest() or parser.fail("an expression")
    return f"PERFORM mz_local.alter_secret({array(name)}, {PATH}, {boolean(lenient)}, ({value}\n));"


def create_connection(parser: Parser) -> str:
    """``CREATE CONNECTION [IF NOT EXISTS] name TO type (options)``."""
    lenient = parser.flag_if_exists(negated=True)
    name = parser.qualified_name()
    if not parser.accept("TO"):
        parser.expect("FOR")
    kind = next((kind for kind, words in _LONG_KINDS.items() if parser.accept(*words)), None) or parser.identifier()
    options: dict[str, dict[str, object]] = {}
    if kind == "aws":
        options = _aws_options(parser)
        _check_aws(options)
    elif kind in CONNECTION_OPTIONS:
        options = connection_options(parser, kind)
    else:
        # Only their type matters here: COPY refuses them.
        parser.skip_group()
    if parser.accept("WITH"):
        parser.expect("(", "VALIDATE")
        parser.accept("=")
        if not parser.accept("FALSE"):
            raise not_supported("CREATE CONNECTION ... WITH (VALIDATE = true); use VALIDATE CONNECTION")
        parser.expect(")")
    parser.end()
    return (
        f"PERFORM mz_local.create_connection({array(name)}, {PATH}, {OWNER}, {boolean(lenient)}, "
        f"{literal(kind)}, {literal(json.dumps(options))}::jsonb);"
    )


def _aws_options(parser: Parser) -> dict[str, dict[str, object]]:
    options: dict[str, dict[str, object]] = {}
    parser.expect("(")
    while not parser.accept(")"):
        name = next((o for o in _AWS_OPTIONS if parser.accept(*o.split())), None)
        if name is None:
            parser.fail("one of ACCESS or ASSUME or ENDPOINT or REGION or SECRET or SESSION")
        if name in options:
            raise StatementError(f"{name} specified more than once")
        parser.accept("=")
        if parser.accept("SECRET"):
            if name not in ("ACCESS KEY ID", "SECRET ACCESS KEY", "SESSION TOKEN"):
                raise StatementError(f"invalid {name} option value: cannot use a secret")
            options[name] = {"secret": list(parser.qualified_name())}
        elif name == "SECRET ACCESS KEY":
            raise StatementError(f"invalid {name} option value: must provide a secret value")
        else:
            options[name] = {"text": parser.string()}
        if not parser.accept(",") and not parser.looks_at(")"):
            parser.fail("right parenthesis")
    if options.get("ENDPOINT") == {"text": ""}:
        del options["ENDPOINT"]
    return options


def _check_aws(options: dict[str, dict[str, object]]) -> None:
    keys = {"ACCESS KEY ID", "SECRET ACCESS KEY", "SESSION TOKEN"} & options.keys()
    role = {"ASSUME ROLE ARN", "ASSUME ROLE SESSION NAME"} & options.keys()
    if keys and role:
        raise StatementError("cannot specify both ACCESS KEY ID and ASSUME ROLE ARN")
    if keys and not {"ACCESS KEY ID", "SECRET ACCESS KEY"} <= keys:
        raise StatementError("must specify both ACCESS KEY ID and SECRET ACCESS KEY with optional SESSION TOKEN")
    if role and "ASSUME ROLE ARN" not in role:
        raise StatementError("must specify ASSUME ROLE ARN with optional ASSUME ROLE SESSION NAME")
    if not keys and not role:
        raise StatementError("must specify either ASSUME ROLE ARN or ACCESS KEY ID and SECRET ACCESS KEY")


def drop_item(parser: Parser, kind: str) -> str:
    """``DROP SECRET|CONNECTION|SINK [IF EXISTS] name [, ...] [CASCADE|RESTRICT]``."""
    lenient = parser.flag_if_exists(negated=False)
    names = item_names(parser)
    cascade = wants_cascade(parser)
    return " ".join(
        f"PERFORM mz_local.drop_item({array(name)}, {PATH}, {literal(kind)}, {boolean(lenient)}, {boolean(cascade)});"
        for name in names
    )


def create_cluster(parser: Parser) -> str:
    """``CREATE CLUSTER name (SIZE, REPLICATION FACTOR)`` or ``name REPLICAS (...)``."""
    name = parser.identifier()
    size, factor, replicas = _cluster_options(parser)
    managed = replicas is None
    if replicas is None:
        replicas = [f"r{i}" for i in range(1, (1 if factor is None else factor) + 1)]
    size_text = "NULL" if size is None else literal(size)
    given = f"{literal(name)}, {OWNER}, {boolean(managed)}, {size_text}, {array(replicas)}"
    return f"PERFORM mz_local.create_cluster({given});"


def alter_cluster(parser: Parser) -> str:
    """``ALTER CLUSTER name SET (SIZE, REPLICATION FACTOR)``."""
    name = parser.identifier()
    if not parser.accept("SET"):
        raise not_supported(parser.text)
    size, factor, _ = _cluster_options(parser)
    size_text = "NULL" if size is None else literal(size)
    factor_text = "NULL" if factor is None else str(factor)
    return f"PERFORM mz_local.alter_cluster({literal(name)}, {size_text}, {factor_text});"


def drop_cluster(parser: Parser) -> str:
    """``DROP CLUSTER [IF EXISTS] name [, ...] [CASCADE|RESTRICT]``."""
    lenient = parser.flag_if_exists(negated=False)
    names = item_names(parser)
    cascade = wants_cascade(parser)
    return " ".join(
        f"PERFORM mz_local.drop_cluster({literal(name[-1])}, {boolean(lenient)}, {boolean(cascade)});" for name in names
    )


def _cluster_options(parser: Parser) -> tuple[str | None, int | None, list[str] | None]:
    size: str | None = None
    factor: int | None = None
    replicas: list[str] | None = None
    grouped = parser.accept("(")
    while (token := parser.peek()) is not None and token.text != ")":
        if parser.accept("SIZE"):
            parser.accept("=")
            size = _word_or_string(parser)
        elif parser.accept("REPLICATION", "FACTOR"):
            parser.accept("=")
            factor = _number(parser)
        elif parser.accept("REPLICAS"):
            replicas = _replicas(parser)
        elif parser.accept("MANAGED"):
            parser.accept("=")
            parser.next()
        else:
            raise not_supported(parser.text)
        if not parser.accept(",") and parser.peek() is not None and not parser.looks_at(")"):
            parser.fail("right parenthesis" if grouped else "comma")
    if grouped:
        parser.expect(")")
    parser.end()
    return size, factor, replicas


def _replicas(parser: Parser) -> list[str]:
    names: list[str] = []
    parser.expect("(")
    while not parser.accept(")"):
        names.append(parser.identifier())
        parser.skip_group()
        if not parser.accept(",") and not parser.looks_at(")"):
            parser.fail("right parenthesis")
    return names


def create_materialized_view(parser: Parser, replace: bool) -> str:
    """``CREATE MATERIALIZED VIEW [IF NOT EXISTS] name [(columns)] [IN CLUSTER c] [WITH (...)] AS query``.

    A plain view stands for it: like a materialized view of Materialize it is always up to date.
    """
    lenient = parser.flag_if_exists(negated=True)
    name = parser.qualified_name()
    columns = ""
    opening = parser.peek()
    if opening is not None and opening.text == "(":
        parser.skip_group()
        columns = parser.text[opening.start : parser.tokens[parser.at - 1].end]
    cluster = "current_setting('mz.cluster')"
    if parser.accept("IN", "CLUSTER"):
        cluster = literal(parser.identifier())
    if parser.accept("WITH"):
        parser.skip_group()
    parser.expect("AS")
    query = parser.rest() or parser.fail("a query")
    view = ".".join(identifier(part) for part in name)
    create = f"CREATE {'OR REPLACE ' if replace else ''}VIEW {view} {columns} AS {query}"
    register = (
        f"PERFORM mz_local.cluster_id({cluster}); EXECUTE {literal(create)}; "
        f"PERFORM mz_local.register_materialized_view({array(name)}, {PATH}, {cluster}, {literal(query)});"
    )
    if not lenient:
        return register
    notice = literal(f'materialized view "{name[-1]}" already exists, skipping').replace("%", "%%")
    return (
        f"IF (mz_local.find_item({array(name)}, {PATH})).oid IS NOT NULL THEN RAISE NOTICE {notice}; "
        f"ELSE {register} END IF;"
    )


def drop_materialized_view(parser: Parser) -> str:
    """``DROP MATERIALIZED VIEW [IF EXISTS] name [, ...] [CASCADE|RESTRICT]``."""
    lenient = parser.flag_if_exists(negated=False)
    names = item_names(parser)
    behaviour = "CASCADE" if wants_cascade(parser) else "RESTRICT"
    steps = []
    for name in names:
        view = ".".join(identifier(part) for part in name)
        drop = f"PERFORM mz_local.item({array(name)}, {PATH}, 'materialized-view'); "
        drop += f"EXECUTE {literal(f'DROP VIEW {view} {behaviour}')};"
        if lenient:
            drop = f"IF (mz_local.find_item({array(name)}, {PATH})).oid IS NOT NULL THEN {drop} END IF;"
        steps.append(drop)
    return " ".join(steps)


def item_names(parser: Parser) -> list[tuple[str, ...]]:
    """The names in a DROP."""
    names = [parser.qualified_name()]
    while parser.accept(","):
        names.append(parser.qualified_name())
    return names


def wants_cascade(parser: Parser) -> bool:
    """The end of a DROP: whether it said CASCADE."""
    cascade = parser.accept("CASCADE")
    if not cascade:
        parser.accept("RESTRICT")
    parser.end()
    return cascade


def boolean(value: bool) -> str:
    """The value in SQL."""
    return "true" if value else "false"


def _word_or_string(parser: Parser) -> str:
    token = parser.peek()
    if token is not None and token.kind == "string":
        return parser.string()
    if token is not None and token.kind == "number":
        # 25cc is a number followed by a word.
        parser.next()
        unit = parser.peek()
        if unit is not None and unit.start == token.end:
            return token.text + parser.identifier()
        return token.text
    return parser.identifier()


def _number(parser: Parser) -> int:
    token = parser.peek()
    if token is None or not re.fullmatch(r"\d+", token.text):
        parser.fail("literal unsigned integer")
    parser.next()
    return int(token.text)
