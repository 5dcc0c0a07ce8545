"""The small statements around a COPY: clusters, connections, sessions."""

from __future__ import annotations

from psycopg import sql

from mz_orchestration.materialize.names import parse_object_name

SHOW_CLUSTER = sql.SQL("SHOW cluster").format()
BEGIN = sql.SQL("BEGIN").format()
ENVIRONMENT = sql.SQL("SELECT mz_environment_id()").format()


def use_cluster(name: str) -> sql.Composed:
    """Makes the session use a cluster; any name is taken."""
    return sql.SQL("SET cluster = {}").format(sql.Identifier(name))


def count_clusters(name: str) -> sql.Composed:
    """Asks whether there is a cluster of that name."""
    return sql.SQL("SELECT count(*) FROM mz_catalog.mz_clusters WHERE name = {}").format(sql.Literal(name))


def connection_types(name: str) -> sql.Composed:
    """Asks for the types of the connections of that name."""
    last = parse_object_name(name)[-1]
    return sql.SQL("SELECT type FROM mz_catalog.mz_connections WHERE name = {}").format(sql.Literal(last))


def session_of(pid: int) -> sql.Composed:
    """Asks for the id of the session with a backend, which never comes round again, and for the environment's."""
    return sql.SQL(
        "SELECT id::text, mz_environment_id() FROM mz_internal.mz_sessions WHERE connection_id::bigint = {}"
    ).format(sql.Literal(pid))


def backend_of(session: str) -> sql.Composed:
    """Asks for the backend of a session; no row if the session is gone."""
    return sql.SQL("SELECT connection_id::bigint FROM mz_internal.mz_sessions WHERE id::text = {}").format(
        sql.Literal(session)
    )


def cancel_backend(pid: int) -> sql.Composed:
    """Cancels what another session is running."""
    return sql.SQL("SELECT pg_cancel_backend({})").format(sql.Literal(pid))
