"""CREATE TABLE: by columns, LIKE, CLONE or AS a query.

What a new table takes over from another one, by documentation:

===================  =======================  =======================  ==============
of the source        CLONE                    LIKE                     AS a query
===================  =======================  =======================  ==============
rows                 yes                      no                       the query's
load history         no                       no                       no
defaults, keys       yes                      yes                      no
clustering key       yes, suspended           yes, not suspended       no
comment              yes                      no                       no
masking, row access  yes                      no                       no
tags                 yes                      yes                      no
grants               with COPY GRANTS         with COPY GRANTS         no
future grants        without COPY GRANTS      without COPY GRANTS      yes
===================  =======================  =======================  ==============

The documentation says this of row access policies and LIKE, and nothing of masking policies and comments: they
are left out as well. COPY GRANTS takes the grants of the table that is replaced, where there is one. The role
that creates a table owns it in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mz_orchestration.local.snowflake import errors, grants, policies
from mz_orchestration.local.snowflake.catalog import Column, Constraint, Governance, Name, Table, Version
from mz_orchestration.local.snowflake.column_definitions import Definitions, definitions
from mz_orchestration.local.snowflake.infer_schema import template
from mz_orchestration.local.snowflake.lexer import Parser
from mz_orchestration.local.snowflake.names import display
from mz_orchestration.local.snowflake.queries import source_columns, translate_error
from mz_orchestration.local.snowflake.results import Result
from mz_orchestration.local.snowflake.statement import Statement
from mz_orchestration.local.snowflake.translate import parse

TABLE_OPTIONS = {
    "COMMENT", "DATA_RETENTION_TIME_IN_DAYS", "MAX_DATA_EXTENSION_TIME_IN_DAYS", "CHANGE_TRACKING",
    "ENABLE_SCHEMA_EVOLUTION", "DEFAULT_DDL_COLLATION",
}  # fmt: skip
_ICEBERG_OPTIONS = {"EXTERNAL_VOLUME", "CATALOG", "BASE_LOCATION", "CATALOG_SYNC", "STORAGE_SERIALIZATION_POLICY"}


@dataclass
class _Clauses:
    """What stands behind the columns."""

    comment: str | None = None
    cluster_by: str | None = None
    copy_grants: bool = False
    governance: Governance = field(default_factory=Governance)


def create_table(
    statement: Statement, parser: Parser, kind: str, or_replace: bool, special: str | None = None
) -> Result:
    """CREATE [TRANSIENT | TEMPORARY] [ICEBERG | HYBRID] TABLE."""
    if_not_exists = parser.accept("IF", "NOT", "EXISTS")
    name = statement.name(parser.name(), "CREATE TABLE")
    with statement.catalog.lock:
        statement.catalog.schema_of(name)
    privilege = f"CREATE {special} TABLE" if special else "CREATE TABLE"
    grants.enter(statement, name, *([] if kind == "TEMPORARY" else [privilege]))
    taken = statement.session.exists(name)
    if taken and if_not_exists:
        return Result.status(f"{display(name.object)} already exists, statement succeeded.")
    if taken and not or_replace and not (kind == "TEMPORARY" and name not in statement.session.temporary):
        raise errors.already_exists(str(name))
    replaced = _replaced(statement, name, kind)
    source: Table | None = None
    if word := parser.accept_any("LIKE", "CLONE"):
        source = _source(statement, parser, kind, word)
        clauses = _clauses(statement, parser, source.columns, special)
        parser.end()
        table = _copied(statement, source, kind, cloned=word == "CLONE")
    else:
        found = definitions(statement, parser) if parser.accept("(") else Definitions()
        if parser.accept("USING", "TEMPLATE"):
            found.columns += template(statement, parser)
        clauses = _clauses(statement, parser, found.columns, special)
        table = _from_columns(statement, parser, kind, found)
        if special == "HYBRID" and not any(c.kind == "PRIMARY KEY" for c in table.constraints):
            raise errors.compilation("391407", "0A000", f"Hybrid table {display(name.object)} needs a primary key.")
    table.special = special
    table.comment = clauses.comment if clauses.comment is not None else table.comment
    if clauses.cluster_by is not None:
        table.cluster_by, table.auto_clustering = clauses.cluster_by, True
    table.governance.row_access.update(clauses.governance.row_access)
    table.governance.tags.update(clauses.governance.tags)
    origin = replaced or source
    if clauses.copy_grants and origin is not None:
        table.access = origin.access.copied(statement.role)
    else:
        table.access = grants.created(statement, "TABLE", name)
    bind(statement, name, table)
    return Result.status(f"Table {display(name.object)} successfully created.")


def bind(statement: Statement, name: Name, table: Table) -> None:
    """Give a table its name; what had it before is gone."""
    with statement.catalog.lock:
        home = statement.session.temporary if table.kind == "TEMPORARY" else None
        if home is not None:
            old = home.pop(name, None)
            home[name] = table
        else:
            tables = statement.catalog.schema_of(name).tables
            old = tables.get(name.object)
            tables[name.object] = table
    if old is not None and old.version.physical:
        statement.storage.retire(old.version.physical)


def _from_columns(statement: Statement, parser: Parser, kind: str, found: Definitions) -> Table:
    columns, physical = found.columns, None
    if parser.accept("AS"):
        columns, physical = _as_query(statement, parser, columns)
    elif not columns:
        raise parser.unexpected()
    parser.end()
    version = Version(physical or statement.storage.create(statement.cursor, columns))
    keys = [_named(c) for c in found.constraints]
    return Table(columns, version, kind, constraints=keys, governance=found.governance)


def _named(constraint: Constraint) -> Constraint:
    return constraint if constraint.name else replace(constraint, name=f"SYS_CONSTRAINT_{id(constraint):x}")


def _replaced(statement: Statement, name: Name, kind: str) -> Table | None:
    """The table that is about to lose its name, if the role may take it away."""
    with statement.catalog.lock:
        if kind == "TEMPORARY":
            return statement.session.temporary.get(name)
        old = statement.catalog.schema_of(name).tables.get(name.object)
        if old is not None:
            grants.require(statement, old.access, "VIEW" if old.query is not None else "TABLE", str(name), "OWNERSHIP")
        return old


def _source(statement: Statement, parser: Parser, kind: str, word: str) -> Table:
    """The table behind LIKE or CLONE."""
    source = grants.on_table(statement, statement.name(parser.name()), "SELECT")
    if source.query is not None or source.special is not None:
        raise errors.unsupported(f"{word} of a {source.special or source.kind}", statement.sql)
    if word == "CLONE" and source.kind != "TABLE" and kind == "TABLE":
        shown = source.kind.capitalize()
        raise errors.compilation("002119", "0A000", f"{shown} object cannot be cloned to a permanent object.")
    if word == "CLONE" and (when := parser.accept_any("AT", "BEFORE")):
        raise errors.unsupported(f"CLONE {when} (Time Travel)", statement.sql)
    return source


def _copied(statement: Statement, source: Table, kind: str, *, cloned: bool) -> Table:
    """A new table by CLONE or LIKE."""
    storage, cursor = statement.storage, statement.cursor
    columns = list(source.columns)
    if cloned:
        physical = storage.copy(cursor, statement.session.version(source).physical, columns)
    else:
        physical = storage.create(cursor, columns)
    return Table(
        columns,
        Version(physical),
        kind,
        comment=source.comment if cloned else None,
        constraints=list(source.constraints),
        cluster_by=source.cluster_by,
        auto_clustering=source.cluster_by is not None and not cloned,
        governance=source.governance.copy(policies=cloned),
    )


def _clauses(statement: Statement, parser: Parser, columns: list[Column], special: str | None) -> _Clauses:
    found = _Clauses()
    known = TABLE_OPTIONS | (_ICEBERG_OPTIONS if special == "ICEBERG" else set())
    while True:
        if parser.accept("CLUSTER", "BY"):
            found.cluster_by = clustering_key(parser, columns)
        elif parser.accept("COPY", "GRANTS"):
            found.copy_grants = True
        elif parser.accept("COPY", "TAGS"):
            raise errors.unsupported("COPY TAGS", statement.sql)
        elif parser.accept("WITH", "ROW", "ACCESS", "POLICY") or parser.accept("ROW", "ACCESS", "POLICY"):
            policy, arguments = policies.row_access_policy(statement, parser)
            found.governance.row_access[policy] = arguments
        elif parser.accept("WITH", "TAG") or parser.accept("TAG"):
            parser.expect("(")
            found.governance.tags.update(policies.tag_values(statement, parser))
            parser.expect(")")
        else:
            options = parser.options()
            if not options:
                return found
            unknown = set(options) - known
            if unknown:
                raise errors.unsupported(f"table option {sorted(unknown)[0]}", statement.sql)
            if isinstance(options.get("COMMENT"), str):
                found.comment = str(options["COMMENT"])


def clustering_key(parser: Parser, columns: list[Column]) -> str:
    """``[LINEAR] (expressions)`` as SHOW TABLES spells it."""
    parser.accept("LINEAR")
    parser.expect("(")
    depth, parts, current = 1, [], ""
    known = {c.name for c in columns}
    while True:
        token = parser.take()
        depth += {"(": 1, ")": -1}.get(token.upper, 0)
        if depth == 0 or (depth == 1 and token.upper == ","):
            alone = current.strip('"').replace('""', '"') if current.startswith('"') else current
            if not current:
                raise parser.unexpected()
            if columns and current.replace("_", "").isalnum() and not current.isdigit() and alone not in known:
                raise errors.invalid_identifier(display(alone))
            parts.append(current)
            current = ""
            if depth == 0:
                return f"LINEAR({', '.join(parts)})"
            continue
        text = parser.sql[token.start : token.end]
        current += text.upper() if token.kind == "word" else text


def _as_query(statement: Statement, parser: Parser, listed: list[Column]) -> tuple[list[Column], str]:
    sql, columns = source_columns(statement, parse(parser.rest()))
    parser.index = len(parser.tokens)
    if listed:
        if len(listed) != len(columns):
            raise errors.compilation(
                "002026", "42601", f"Invalid column definition list: {len(listed)} and {len(columns)} columns"
            )
        columns = listed
    physical = statement.storage.create(statement.cursor, columns)
    try:
        statement.cursor.execute(f"INSERT INTO {physical} {sql}")
    except Exception as error:
        statement.storage.retire(physical)
        raise translate_error(error, statement) from error
    return columns, physical
