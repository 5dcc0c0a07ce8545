"""How to reach Materialize, and a plain connection to it."""

from __future__ import annotations

from typing import Any

import psycopg
from pydantic import BaseModel, ConfigDict, SecretStr

from mz_orchestration import __version__
from mz_orchestration.errors import NotFoundError
from mz_orchestration.materialize import look_ups
from mz_orchestration.materialize.refusals import not_connected, refused


class MaterializeConfig(BaseModel):
    """How to reach Materialize; every field left out is libpq's own to find (``PGHOST`` ..., ``~/.pgpass``).

    Attributes:
        cluster: Cluster for the session's statements.
        connect_timeout: Seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: SecretStr | None = None
    database: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    cluster: str | None = None
    connect_timeout: int = 10


def connect(config: MaterializeConfig, *, application_name: str = "") -> psycopg.Connection[Any]:
    """A plain psycopg connection in autocommit mode, on the cluster asked for; `Session` adds what an export needs.

    Raises:
        UnavailableError: The server cannot be reached.
        CredentialsError: It refused the user or password.
        NotFoundError: There is no such cluster.
    """
    try:
        connection = psycopg.connect(**connect_arguments(config, application_name))
        if config.cluster is not None:
            _use_cluster(connection, config.cluster)
    except psycopg.OperationalError as error:
        raise not_connected(error) from None
    except psycopg.Error as error:
        raise refused(error) from None
    return connection


def connect_arguments(config: MaterializeConfig, application_name: str = "") -> dict[str, Any]:
    """What psycopg's ``connect`` is called with, synchronous or not; it holds the password."""
    given: dict[str, Any] = {
        "host": config.host,
        "port": config.port,
        "user": config.user,
        # An empty password is given as such: libpq would fill a missing one from PGPASSWORD.
        "password": None if config.password is None else config.password.get_secret_value(),
        "dbname": config.database,
        "sslmode": config.sslmode,
        "sslrootcert": config.sslrootcert,
    }
    return {
        **{name: value for name, value in given.items() if value is not None},
        "autocommit": True,
        # Server-side prepared statements save nothing here and complicate what Materialize sees.
        "prepare_threshold": None,
        "application_name": application_name or f"mz-orchestration {__version__}",
        "connect_timeout": config.connect_timeout,
        # Nothing is sent during a long COPY: keepalives stop load balancers from dropping the connection.
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 6,
    }


def _use_cluster(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(look_ups.use_cluster(name))
    # SET takes any name; the COPY would be the first to notice.
    if connection.execute(look_ups.count_clusters(name)).fetchone() == (0,):
        connection.close()
        raise NotFoundError(f"Materialize: unknown cluster '{name}'.", hint="SHOW CLUSTERS lists what there is.")
