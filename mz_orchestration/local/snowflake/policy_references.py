"""What tells which policies and tags are set: POLICY_REFERENCES, TAG_REFERENCES and SYSTEM$GET_TAG."""

from __future__ import annotations

from typing import Any

from mz_orchestration.local.snowflake import errors, grants
from mz_orchestration.local.snowflake.catalog import Name, Table
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.policies import tag_of
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.system_functions import system_function
from mz_orchestration.local.snowflake.table_functions import table_function
from mz_orchestration.local.snowflake.types import TEXT

_REFERENCES = [
    (name, TEXT)
    for name in ("POLICY_DB", "POLICY_SCHEMA", "POLICY_NAME", "POLICY_KIND", "REF_DATABASE_NAME", "REF_SCHEMA_NAME",
                 "REF_ENTITY_NAME", "REF_ENTITY_DOMAIN", "REF_COLUMN_NAME", "REF_ARG_COLUMN_NAMES", "TAG_DATABASE",
                 "TAG_SCHEMA", "TAG_NAME", "POLICY_STATUS")
]  # fmt: skip
_TAG_REFERENCES = [
    (name, TEXT)
    for name in ("TAG_DATABASE", "TAG_SCHEMA", "TAG_NAME", "TAG_VALUE", "LEVEL", "OBJECT_DATABASE", "OBJECT_SCHEMA",
                 "OBJECT_NAME", "DOMAIN", "COLUMN_NAME", "APPLY_METHOD")
]  # fmt: skip


@table_function("POLICY_REFERENCES", "POLICY_NAME", "REF_ENTITY_NAME", "REF_ENTITY_DOMAIN")
def policy_references(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """INFORMATION_SCHEMA.POLICY_REFERENCES by policy, or by table."""
    with statement.catalog.lock:
        if "POLICY_NAME" in arguments:
            wanted = statement.name(Parser(str(arguments["POLICY_NAME"])).name())
            rows = [r for n, t in statement.catalog.tables() for r in _references(n, t)]
            return Result.of(_REFERENCES, [r for r in rows if Name(r[0], r[1], r[2]) == wanted])
        name = _entity(statement, arguments, "REF_ENTITY_NAME", "REF_ENTITY_DOMAIN")
        return Result.of(_REFERENCES, _references(name, _visible(statement, name)))


def _references(name: Name, table: Table) -> list[list[Any]]:
    domain = "VIEW" if table.kind == "VIEW" else "TABLE"
    here = [name.database, name.schema, name.object, domain]
    nothing = [None, None, None, "ACTIVE"]
    rows = [
        [p.database, p.schema, p.object, "MASKING_POLICY", *here, column, None, *nothing]
        for column, p in table.governance.masking.items()
    ]
    for policy, columns in table.governance.row_access.items():
        listed = "[ " + ", ".join(f'"{c}"' for c in columns) + " ]"
        named = [policy.database, policy.schema, policy.object, "ROW_ACCESS_POLICY"]
        rows.append([*named, *here, None, listed, *nothing])
    return rows


@table_function("TAG_REFERENCES", "OBJECT_NAME", "OBJECT_DOMAIN")
def tag_references(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """INFORMATION_SCHEMA.TAG_REFERENCES('table', 'table') or ('table.column', 'column')."""
    if str(arguments.get("OBJECT_DOMAIN", "")).upper() == "COLUMN":
        parts = _dotted(str(arguments.get("OBJECT_NAME", "")))
        name = statement.name(parts[:-1])
        return Result.of(_TAG_REFERENCES, [r for r in _tags(name, _visible(statement, name)) if r[9] == parts[-1]])
    name = _entity(statement, arguments, "OBJECT_NAME", "OBJECT_DOMAIN")
    return Result.of(_TAG_REFERENCES, [r for r in _tags(name, _visible(statement, name)) if r[9] is None])


@table_function("TAG_REFERENCES_ALL_COLUMNS", "OBJECT_NAME", "OBJECT_DOMAIN")
def tag_references_all_columns(statement: Statement, database: str | None, arguments: dict[str, Any]) -> Result:
    """INFORMATION_SCHEMA.TAG_REFERENCES_ALL_COLUMNS('table', 'table')."""
    name = _entity(statement, arguments, "OBJECT_NAME", "OBJECT_DOMAIN")
    return Result.of(_TAG_REFERENCES, [r for r in _tags(name, _visible(statement, name)) if r[9] is not None])


def _tags(name: Name, table: Table) -> list[list[Any]]:
    here = [name.database, name.schema, name.object]
    rows = [
        [t.database, t.schema, t.object, value, "TABLE", *here, "TABLE", None, "MANUAL"]
        for t, value in table.governance.tags.items()
    ]
    for column, tags in table.governance.column_tags.items():
        rows += [
            [t.database, t.schema, t.object, value, "COLUMN", *here, "COLUMN", column, "MANUAL"]
            for t, value in tags.items()
        ]
    return rows


@system_function("SYSTEM$GET_TAG")
def get_tag(statement: Statement, arguments: list[str]) -> str | None:
    """SYSTEM$GET_TAG('tag', 'object', 'table' | 'column')."""
    if len(arguments) != 3:
        raise errors.compilation(
            "000939",
            "22023",
            "error line 1 at position 0\n"
            f"not enough arguments for function [SYSTEM$GET_TAG], expected 3, got {len(arguments)}",
        )
    tag, parts = statement.name(_dotted(arguments[0])), _dotted(arguments[1])
    with statement.catalog.lock:
        tag_of(statement, tag)
        if arguments[2].upper() == "COLUMN":
            table = _visible(statement, statement.name(parts[:-1]))
            return table.governance.column_tags.get(parts[-1], {}).get(tag)
        return _visible(statement, statement.name(parts)).governance.tags.get(tag)


def _dotted(text: str) -> list[str]:
    """The parts of a name given as text; a column has up to four."""
    parser = Parser(text)
    parts = [parser.identifier()]
    while parser.accept("."):
        parts.append(parser.identifier())
    parser.end()
    return parts


def _entity(statement: Statement, arguments: dict[str, Any], name: str, domain: str) -> Name:
    if str(arguments.get(domain, "")).upper() not in {"TABLE", "VIEW"} or name not in arguments:
        raise errors.unsupported(f"{domain} {arguments.get(domain)}", statement.sql)
    return statement.name(Parser(str(arguments[name])).name())


def _visible(statement: Statement, name: Name) -> Table:
    with statement.catalog.lock:
        table = statement.session.find(name, str(name), "Object")
        if not grants.sees(statement, table.access):
            raise errors.does_not_exist("Object", str(name))
        return table
