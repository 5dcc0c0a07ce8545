"""The hook for Materialize; SQL operators and sensors of common-sql work through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy.engine import URL

    from mz_orchestration.materialize.connection import MaterializeConfig


class MaterializeHook(DbApiHook):
    """
    Connect to Materialize.

    Materialize takes DDL and ``INSERT ... SELECT`` only outside of transactions: run them with ``autocommit=True``.

    :param materialize_conn_id: the connection to use.
    """

    conn_name_attr = "materialize_conn_id"
    default_conn_name = "materialize_default"
    conn_type = "materialize"
    hook_name = "Materialize"
    supports_autocommit = True

    def get_config(self) -> MaterializeConfig:
        """Return the connection as the core's settings."""
        from mz_orchestration.airflow.connections import get_connection, materialize_config

        return materialize_config(get_connection(self.get_conn_id()))

    def get_conn(self) -> Connection[Any]:
        """Open a connection, in autocommit mode, on the connection's cluster."""
        from mz_orchestration.materialize.connection import connect

        return connect(self.get_config())

    @property
    def sqlalchemy_url(self) -> URL:
        """Return the connection for SQLAlchemy, over psycopg and PostgreSQL's dialect."""
        from sqlalchemy.engine import URL

        config = self.get_config()
        password = "" if config.password is None else config.password.get_secret_value()
        return URL.create(
            "postgresql+psycopg",
            username=config.user,
            password=password,
            host=config.host,
            port=config.port,
            database=config.database,
            # SQLAlchemy drops an empty password, and libpq would fill the gap from the worker's PGPASSWORD.
            query={} if password else {"password": ""},
        )

    def get_uri(self) -> str:
        """Return the same as text; it holds the password."""
        return self.sqlalchemy_url.render_as_string(hide_password=False)

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]  # common-sql leaves it without a type
        """Sign in and ask for the version; what the *Test* button calls."""
        from mz_orchestration.errors import MzOrchestrationError

        try:
            with self.get_conn() as connection:
                row = connection.execute("SELECT mz_version()").fetchone()
        except MzOrchestrationError as error:
            return False, str(error)
        return True, f"Connected to Materialize {row[0] if row else ''}".rstrip()
