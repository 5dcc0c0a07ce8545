"""The connection to Materialize for event loops."""

from __future__ import annotations

from typing import Any

import psycopg

from mz_orchestration.errors import NotFoundError
from mz_orchestration.materialize import look_ups
from mz_orchestration.materialize.connection import MaterializeConfig, connect_arguments
from mz_orchestration.materialize.refusals import not_connected, refused


async def aconnect(config: MaterializeConfig) -> psycopg.AsyncConnection[Any]:
    """
    Open a connection in autocommit mode, on the cluster asked for.

    :param config: how to reach Materialize.
    :raises UnavailableError: the server cannot be reached.
    :raises CredentialsError: it refused the user or password.
    :raises NotFoundError: there is no such cluster.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(**connect_arguments(config))
    except psycopg.OperationalError as error:
        raise not_connected(error) from None
    try:
        if config.cluster is not None:
            await _use_cluster(connection, config.cluster)
    except psycopg.Error as error:
        await connection.close()
        raise refused(error) from None
    except BaseException:
        await connection.close()
        raise
    return connection


async def _use_cluster(connection: psycopg.AsyncConnection[Any], name: str) -> None:
    await connection.execute(look_ups.use_cluster(name))
    # SET takes any name; the first query would be the first to notice.
    if await (await connection.execute(look_ups.count_clusters(name))).fetchone() == (0,):
        raise NotFoundError(f"Materialize: unknown cluster '{name}'.", hint="SHOW CLUSTERS lists what there is.")
