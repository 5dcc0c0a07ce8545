"""What there is to export: the objects of a schema or a cluster, as Materialize's own catalog has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.materialize.names import format_object_name, parse_object_name
from mz_orchestration.materialize.session import Session

#: What COPY TO takes, and has rows of its own or reads them.
KINDS = ("table", "source", "view", "materialized-view")


@dataclass(frozen=True, slots=True)
class CatalogObject:
    """An object of Materialize.

    Attributes:
        object: Its name as in SQL; without the database where that is the session's own.
        kind: One of `KINDS`.
        cluster: The cluster that maintains it, if one does.
        comment: What ``COMMENT ON`` says of it.
        columns: Their names and types in SQL, in order.
    """

    object: str
    kind: str
    cluster: str | None = None
    comment: str = ""
    columns: tuple[tuple[str, str], ...] = ()


def find_objects(
    session: Session,
    *,
    schemas: Sequence[str] = (),
    clusters: Sequence[str] = (),
    kinds: Sequence[str] = KINDS,
) -> list[CatalogObject]:
    """The objects in schemas, or that clusters maintain, by name; two statements, and one for each of both.

    Args:
        session: To ask in.
        schemas: ``[database.]schema``; none for all.
        clusters: Names of clusters; none for all. What no cluster maintains, such as a plain view, is not found by one.
        kinds: Some of `KINDS`.

    Raises:
        ConfigurationError: A kind is not known, or a name is none.
        NotFoundError: There is no such schema or cluster.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ConfigurationError(
            f"kinds: {', '.join(unknown)} cannot be exported.", hint=f"Choose of {', '.join(KINDS)}."
        )
    places = [_place(schema) for schema in schemas]
    for place in places:
        _required(session, "schemas", ".".join(place), _count_schemas(place), _SCHEMAS)
    for cluster in clusters:
        _required(session, "clusters", cluster, _count_clusters(cluster), _CLUSTERS)
    rows = session.look_up(_objects(places, clusters, kinds))
    columns: dict[str, list[tuple[str, str]]] = {}
    if rows:
        for identifier, name, kind in session.look_up(_columns(str(row[0]) for row in rows)):
            columns.setdefault(str(identifier), []).append((str(name), str(kind)))
    return [
        CatalogObject(
            object=format_object_name([schema, name] if own else [database, schema, name]),
            kind=kind,
            cluster=cluster,
            comment=comment or "",
            columns=tuple(columns.get(str(identifier), ())),
        )
        for identifier, database, own, schema, name, kind, cluster, comment in rows
    ]


_SCHEMAS = sql.SQL("SELECT name FROM mz_catalog.mz_schemas WHERE id LIKE 'u%'").format()
_CLUSTERS = sql.SQL("SELECT name FROM mz_catalog.mz_clusters WHERE id LIKE 'u%'").format()


def _place(schema: str) -> tuple[str, ...]:
    try:
        place = parse_object_name(schema)
    except ValueError as error:
        raise ConfigurationError(f"schemas: {error}.") from error
    if len(place) > 2:
        raise ConfigurationError(f"schemas: {schema!r} has too many parts.", hint="Write it as [database.]schema.")
    return place


def _required(session: Session, field: str, name: str, count: sql.Composed, known: sql.Composed) -> None:
    if session.look_up(count)[0][0]:
        return
    names = sorted({str(row[0]) for row in session.look_up(known)})
    close = difflib.get_close_matches(name.rpartition(".")[2], names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(names) or 'none'}."
    raise NotFoundError(f"{field}: Materialize has no {field.removesuffix('s')} {name!r}.", hint=hint)


def _count_schemas(place: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(
        "SELECT count(*) FROM mz_catalog.mz_schemas s JOIN mz_catalog.mz_databases d ON d.id = s.database_id WHERE {}"
    ).format(_is_place(sql.SQL("d.name"), sql.SQL("s.name"), place))


def _count_clusters(name: str) -> sql.Composed:
    return sql.SQL("SELECT count(*) FROM mz_catalog.mz_clusters WHERE name = {}").format(sql.Literal(name))


def _objects(places: Iterable[tuple[str, ...]], clusters: Sequence[str], kinds: Sequence[str]) -> sql.Composed:
    database, schema = sql.SQL("o.database_name"), sql.SQL("o.schema_name")
    conditions = [sql.SQL("o.object_type IN ({})").format(_literals(kinds))]
    if found := [_is_place(database, schema, place) for place in places]:
        conditions.append(sql.SQL("({})").format(sql.SQL(" OR ").join(found)))
    if clusters:
        conditions.append(sql.SQL("c.name IN ({})").format(_literals(clusters)))
    # The system's own objects belong to no database.
    return sql.SQL(
        "SELECT o.id, o.database_name, o.database_name = current_database(), o.schema_name, o.name, o.object_type,"
        " c.name, m.comment"
        " FROM mz_internal.mz_object_fully_qualified_names o"
        " LEFT JOIN mz_catalog.mz_clusters c ON c.id = o.cluster_id"
        " LEFT JOIN mz_internal.mz_comments m ON m.id = o.id AND m.object_sub_id IS NULL"
        " WHERE o.database_name IS NOT NULL AND {} ORDER BY 2, 4, 5"
    ).format(sql.SQL(" AND ").join(conditions))


def _columns(identifiers: Iterable[str]) -> sql.Composed:
    return sql.SQL("SELECT id, name, type FROM mz_catalog.mz_columns WHERE id IN ({}) ORDER BY id, position").format(
        _literals(identifiers)
    )


def _is_place(database: sql.SQL, schema: sql.SQL, place: tuple[str, ...]) -> sql.Composed:
    own = sql.SQL("current_database()") if len(place) == 1 else sql.Literal(place[0])
    return sql.SQL("({} = {} AND {} = {})").format(database, own, schema, sql.Literal(place[-1]))


def _literals(values: Iterable[Any]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Literal(value) for value in values)
