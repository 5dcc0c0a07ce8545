"""The sources: the stack's Snowflake and Materialize, read with their own clients.

The clients are loaded when the first run needs them, so that the stack starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mz_orchestration.local.census.syncs import SourceObject
from mz_orchestration.local.environment import (
    MATERIALIZE_USER,
    SNOWFLAKE_ACCOUNT,
    SNOWFLAKE_ROLE,
    SNOWFLAKE_USER,
    SNOWFLAKE_WAREHOUSE,
)
from mz_orchestration.local.state import HOST
from mz_orchestration.snowflake.quoting import compose, identifier, join

if TYPE_CHECKING:
    import psycopg

Rows = Sequence[Sequence[Any]]

_SNOWFLAKE_MISSING = 2003
_SNOWFLAKE_NO_COLUMN = 904
_NO_COLUMN = "42703"


class SourceError(Exception):
    """The source cannot be read; a run ends with this as its failure."""

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        self.code = code
        self.message = message
        self.detail = detail
        super().__init__(message)


class Source(Protocol):
    """Something records come from."""

    @property
    def id(self) -> int:
        """The number of the connection."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def type(self) -> str:
        """The kind of service."""

    def read(self, object: SourceObject, columns: Sequence[str]) -> Rows:
        """All rows of an object.

        Raises:
            SourceError: It cannot be read.
        """

    def continuous(self, object: SourceObject) -> bool:
        """Whether an object, if it exists, can be read continuously."""


@dataclass(frozen=True)
class Snowflake:
    """The stack's Snowflake."""

    port: int
    password: str = field(repr=False)
    id: int = 1
    name: str = "Snowflake"
    type: str = "snowflake"

    def read(self, object: SourceObject, columns: Sequence[str]) -> Rows:
        """All rows of a table or view.

        Raises:
            SourceError: It cannot be read.
        """
        import snowflake.connector

        where = (object.table_catalog, object.table_schema, object.table_name)
        names = join(identifier(column) for column in columns)
        statement = compose("SELECT {} FROM {}", names, identifier(*where))
        try:
            with (
                snowflake.connector.connect(
                    account=SNOWFLAKE_ACCOUNT,
                    user=SNOWFLAKE_USER,
                    password=self.password,
                    host=HOST,
                    port=self.port,
                    protocol="http",
                    role=SNOWFLAKE_ROLE,
                    warehouse=SNOWFLAKE_WAREHOUSE,
                    login_timeout=20,
                    network_timeout=60,
                    enable_server_session_keep_alive_auto_detection=False,
                    session_parameters={"TIMEZONE": "UTC"},
                ) as connection,
                connection.cursor() as cursor,
            ):
                rows: Rows = cursor.execute(statement).fetchall()
                return rows
        except snowflake.connector.errors.Error as error:
            missing, column = error.errno == _SNOWFLAKE_MISSING, error.errno == _SNOWFLAKE_NO_COLUMN
            raise _refused(object, str(error), missing=missing, column=column) from error

    def continuous(self, object: SourceObject) -> bool:
        """Every object can be read continuously."""
        return True


@dataclass(frozen=True)
class Materialize:
    """The stack's Materialize."""

    port: int
    password: str = field(repr=False)
    id: int = 2
    name: str = "Materialize"
    type: str = "materialize"

    def read(self, object: SourceObject, columns: Sequence[str]) -> Rows:
        """All rows of a view, materialized view, table or source.

        Raises:
            SourceError: It cannot be read.
        """
        import psycopg
        from psycopg import sql

        statement = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(object.table_schema, object.table_name)
        )
        try:
            with self._connected(object.table_catalog) as connection:
                if self._kind(connection, object) is None:
                    raise _refused(object, "unknown catalog item", missing=True)
                return connection.execute(statement).fetchall()
        except psycopg.Error as error:
            text = error.diag.message_primary or str(error)
            raise _refused(object, text, column=error.sqlstate == _NO_COLUMN) from error

    def continuous(self, object: SourceObject) -> bool:
        """Whether it is a source or a materialized view; one that is not there yet may become one."""
        import psycopg

        try:
            with self._connected(object.table_catalog) as connection:
                return self._kind(connection, object) in (None, "source", "materialized-view")
        except psycopg.Error:
            return True

    def _kind(self, connection: psycopg.Connection[Any], object: SourceObject) -> str | None:
        row = connection.execute(
            "SELECT o.type FROM mz_catalog.mz_objects AS o JOIN mz_catalog.mz_schemas AS s ON s.id = o.schema_id "
            "WHERE s.name = %s AND o.name = %s AND o.type <> 'index'",
            (object.table_schema, object.table_name),
        ).fetchone()
        return str(row[0]) if row else None

    def _connected(self, database: str) -> psycopg.Connection[Any]:
        import psycopg

        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=MATERIALIZE_USER,
            password=self.password,
            dbname=database,
            application_name="census",
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=20,
        )


def _refused(object: SourceObject, text: str, *, missing: bool = False, column: bool = False) -> SourceError:
    name = f"{object.table_catalog}.{object.table_schema}.{object.table_name}"
    detail = " ".join(text.split())
    if missing:
        return SourceError("SOURCE_OBJECT_NOT_FOUND", f"{name} does not exist in the source.", detail)
    if column:
        return SourceError("SOURCE_COLUMN_NOT_FOUND", f"A mapped column does not exist in {name}.", detail)
    return SourceError("SOURCE_ERROR", f"{name} cannot be read.", detail)


#: How to make a source of its port and password, by type.
KINDS: dict[str, Callable[..., Source]] = {"snowflake": Snowflake, "materialize": Materialize}
