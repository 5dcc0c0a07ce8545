"""The hook for Materialize; SQL operators and sensors of common-sql work through it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.hooks.sql import DbApiHook

from mz_orchestration.airflow.hooks.forms import FORMS, field_behaviour, form_widgets

if TYPE_CHECKING:
    import psycopg
    from airflow.sdk import Connection
    from sqlalchemy.engine import URL, Engine

    from mz_orchestration.materialize.connection import MaterializeConfig

# What Materialize's information_schema.columns has of the columns that OpenLineage asks other databases for.
_LINEAGE_COLUMNS = ["table_schema", "table_name", "column_name", "ordinal_position", "data_type", "table_catalog"]
# What it says of DDL among other statements of a transaction.
_NOT_IN_TRANSACTIONS = ("cannot be run inside a transaction block", "can only execute a single statement")


class MaterializeHook(DbApiHook):
    """
    Connect to Materialize.

    Materialize takes DDL and ``INSERT ... SELECT`` only outside of transactions: run them with ``autocommit=True``.

    :param materialize_conn_id: the connection to use.
    :param schema: database in place of the connection's; common-sql's operators call it ``database``.
    :param cluster: cluster in place of the connection's.
    :param log_sql: log statements, and pass them on as lineage; without it errors do not quote them either.
    """

    conn_name_attr = "materialize_conn_id"
    default_conn_name = "materialize_default"
    conn_type = "materialize"
    hook_name = "Materialize"
    supports_autocommit = True

    # common-sql's operators hand all extras of the connection to the constructor: what is not named here is dropped.
    def __init__(
        self,
        materialize_conn_id: str = default_conn_name,
        *,
        schema: str | None = None,
        cluster: str | None = None,
        log_sql: bool = True,
        **_: Any,
    ) -> None:
        super().__init__(materialize_conn_id=materialize_conn_id, log_sql=log_sql)
        self.schema = schema
        self.cluster = cluster

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields, for Airflow before 3.2."""
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form makes of the standard fields, for Airflow before 3.2."""
        return field_behaviour(cls.conn_type)

    def get_config(self) -> MaterializeConfig:
        """Return the connection as the core's settings."""
        from mz_orchestration.airflow.connections import get_connection

        return self._config(get_connection(self.get_conn_id()))

    async def aget_config(self) -> MaterializeConfig:
        """As :meth:`get_config`, on an event loop."""
        from mz_orchestration.airflow.connections import aget_connection
        from mz_orchestration.flow import in_daemon_thread

        connection = await aget_connection(self.get_conn_id())
        # It imports psycopg.
        return await in_daemon_thread(lambda: self._config(connection))

    def get_conn(self) -> psycopg.Connection[Any]:
        """Open a connection, in autocommit mode, on the connection's cluster."""
        from mz_orchestration.materialize.connection import connect

        return connect(self.get_config())

    async def aget_conn(self) -> psycopg.AsyncConnection[Any]:
        """Open a connection for an event loop, in autocommit mode, on the connection's cluster."""
        from mz_orchestration.airflow.hooks.materialize_async import aconnect

        return await aconnect(await self.aget_config())

    def cancel(self, pid: int) -> bool:
        """
        Cancel what another session is running.

        :param pid: its backend's id, ``connection.info.backend_pid``.
        :return: whether there is such a session.
        """
        from mz_orchestration.materialize.look_ups import cancel_backend

        with self.get_conn() as connection:
            row = connection.execute(cancel_backend(pid)).fetchone()
        return row == (True,)

    async def acancel(self, pid: int) -> bool:
        """As :meth:`cancel`, on an event loop."""
        from mz_orchestration.materialize.look_ups import cancel_backend

        async with await self.aget_conn() as connection:
            row = await (await connection.execute(cancel_backend(pid))).fetchone()
        return row == (True,)

    @property
    def connection_extra(self) -> dict[str, Any]:
        """Return the extras of ours; common-sql reads formats of statements from all there are."""
        fields = FORMS[self.conn_type]["conn-fields"]
        return {name: value for name, value in self.connection.extra_dejson.items() if name in fields}

    @property
    def sqlalchemy_url(self) -> URL:
        """Return the connection for SQLAlchemy, over psycopg and PostgreSQL's dialect."""
        from sqlalchemy.engine import URL

        config = self.get_config()
        password = "" if config.password is None else config.password.get_secret_value()
        query = {
            "sslmode": config.sslmode,
            "sslrootcert": config.sslrootcert,
            "connect_timeout": str(config.connect_timeout),
            "options": None if config.cluster is None else f"--cluster={_option(config.cluster)}",
            # SQLAlchemy drops an empty password, and libpq would fill the gap from the worker's PGPASSWORD.
            "password": None if password else "",
        }
        return URL.create(
            "postgresql+psycopg",
            username=config.user,
            password=password,
            host=config.host,
            port=config.port,
            database=config.database,
            query={name: value for name, value in query.items() if value is not None},
        )

    def get_uri(self) -> str:
        """Return the same as text; it holds the password."""
        return self.sqlalchemy_url.render_as_string(hide_password=False)

    def get_sqlalchemy_engine(self, engine_kwargs: dict[str, Any] | None = None) -> Engine:
        """
        Return an engine in autocommit mode: reading two schemas in one transaction is refused.

        :param engine_kwargs: for SQLAlchemy's ``create_engine``.
        """
        # It would look for a type that Materialize does not have.
        ours = {"isolation_level": "AUTOCOMMIT", "use_native_hstore": False}
        return super().get_sqlalchemy_engine({**ours, **(engine_kwargs or {})})

    @cached_property
    def dialect_name(self) -> str:
        """PostgreSQL's dialect would want Airflow's PostgreSQL provider, and ON CONFLICT, which Materialize has not."""
        return "default"

    @property
    def reserved_words(self) -> set[str]:
        """Words that must be quoted, by SQLAlchemy's list for PostgreSQL."""
        words: set[str] = self.get_reserved_words("postgresql")
        return words

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]  # common-sql leaves it without a type
        """Sign in and ask for the version; what the *Test* button calls."""
        import psycopg

        from mz_orchestration.errors import MzOrchestrationError

        try:
            with self.get_conn() as connection:
                row = connection.execute("SELECT mz_version()").fetchone()
        except MzOrchestrationError as error:
            return False, str(error)
        except psycopg.errors.UndefinedFunction:
            return False, "This is PostgreSQL or another database that speaks its protocol, not Materialize."
        except psycopg.Error as error:
            return False, str(error)
        return True, f"Connected to Materialize {row[0] if row else ''}".rstrip()

    def get_openlineage_database_info(self, connection: Connection) -> Any:
        """
        Return how OpenLineage names this database and asks it for columns.

        :param connection: the connection.
        """
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        database = self.schema or connection.schema or "materialize"
        return DatabaseInfo(
            scheme="materialize",
            authority=f"{connection.host}:{connection.port or 6875}",
            database=database,
            information_schema_columns=_LINEAGE_COLUMNS,
        )

    def get_openlineage_database_dialect(self, connection: Connection) -> str:
        """Materialize's SQL is close to PostgreSQL's."""
        return "postgres"

    def get_openlineage_default_schema(self) -> str:
        """Return the schema that names without one are in."""
        return "public"

    def _config(self, connection: Connection) -> MaterializeConfig:
        from mz_orchestration.airflow.connections import materialize_config

        instead = {"database": self.schema, "cluster": self.cluster}
        return materialize_config(connection).model_copy(
            update={name: str(value) for name, value in instead.items() if value}
        )

    def _run_command(self, cur: psycopg.Cursor[Any], sql_statement: str, parameters: Any) -> None:
        import psycopg

        from mz_orchestration.errors import ConfigurationError
        from mz_orchestration.materialize.refusals import refused

        try:
            if self.log_sql:
                super()._run_command(cur, sql_statement, parameters)
            else:
                cur.execute(sql_statement.encode(), parameters or None)
        except psycopg.Error as error:
            if any(text in str(error) for text in _NOT_IN_TRANSACTIONS):
                raise ConfigurationError(
                    f"Materialize: {error.diag.message_primary}.", hint="Run it with autocommit=True."
                ) from None
            if not self.log_sql:
                # psycopg's own errors quote the statement.
                raise refused(error) from None
            raise


def _option(value: str) -> str:
    """A value within libpq's ``options``, which are split at blanks."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
