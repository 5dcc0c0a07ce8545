"""How far an object lags behind the clock, by Materialize's own account.

``mz_wallclock_global_lag`` has what holds data: tables, sources, materialized views. A plain view holds none, so it
lags as far as the worst of what it reads, through other plain views.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from mz_orchestration.errors import NotFoundError
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.materialize.session import Session

_HOLDS_DATA = frozenset({"table", "source", "materialized-view"})

_SEARCH_PATH = sql.SQL("SELECT unnest(current_schemas(true))").format()


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of one object that holds data.

    Attributes:
        object: Its name, with the schema's.
        seconds: None where Materialize does not know: it is new, or cannot be read yet.
    """

    object: str
    seconds: float | None


def find_lags(session: Session, name: str) -> list[Lag]:
    """The lag of an object, or of all that a plain view reads: the worst first, and before that the unknown ones.

    One that reads nothing but constants has none. Three statements; two more for each level of plain views.

    Args:
        session: To ask in.
        name: The object, as an export names it.

    Raises:
        NotFoundError: There is no such object.
    """
    pending = [_find(session, name)]
    seen: set[str] = set()
    lags: list[Lag] = []
    while pending:
        seen.update(pending)
        views = []
        for identifier, kind, schema, object_name, seconds in session.look_up(_lags_of(pending)):
            if kind in _HOLDS_DATA:
                lags.append(Lag(f"{schema}.{object_name}", None if seconds is None else float(seconds)))
            elif kind == "view":
                views.append(identifier)
        read = {row[0] for row in session.look_up(_read_by(views))} if views else set()
        pending = sorted(read - seen)
    lags.sort(key=lambda lag: (lag.seconds is not None, -(lag.seconds or 0.0), lag.object))
    return lags


def _find(session: Session, name: str) -> str:
    *path, last = parse_object_name(name)
    schemas = [path[-1]] if path else [str(row[0]) for row in session.look_up(_SEARCH_PATH)]
    found: dict[str, str] = {}
    for identifier, schema in session.look_up(_named(last, path[0] if len(path) > 1 else None)):
        found.setdefault(str(schema), str(identifier))
    for schema in schemas:
        if schema in found:
            return found[schema]
    raise NotFoundError(f"Materialize has no object {name!r}.", hint="Correct the name in the pipeline.")


def _named(name: str, database: str | None) -> sql.Composed:
    """Ids and schemas of what can be read under a name; the system's own objects belong to no database."""
    return sql.SQL(
        "SELECT id, schema_name FROM mz_internal.mz_object_fully_qualified_names"
        " WHERE name = {} AND object_type IN ({}) AND coalesce(database_name, current_database()) = {}"
    ).format(
        sql.Literal(name),
        _literals([*sorted(_HOLDS_DATA), "view"]),
        sql.SQL("current_database()") if database is None else sql.Literal(database),
    )


def _lags_of(identifiers: Iterable[str]) -> sql.Composed:
    return sql.SQL(
        "SELECT o.id, o.object_type, o.schema_name, o.name, extract(epoch FROM l.lag)"
        " FROM mz_internal.mz_object_fully_qualified_names o"
        " LEFT JOIN mz_internal.mz_wallclock_global_lag l ON l.object_id = o.id WHERE o.id IN ({})"
    ).format(_literals(identifiers))


def _read_by(identifiers: Iterable[str]) -> sql.Composed:
    return sql.SQL(
        "SELECT referenced_object_id FROM mz_internal.mz_object_dependencies WHERE object_id IN ({})"
    ).format(_literals(identifiers))


def _literals(values: Iterable[Any]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Literal(value) for value in values)
