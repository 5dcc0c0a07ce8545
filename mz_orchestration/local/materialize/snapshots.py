"""Keeping a snapshot of PostgreSQL readable for longer than the transaction it comes from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql


@asynccontextmanager
async def kept_snapshot(conninfo: str, name: str = "") -> AsyncIterator[str]:
    """While inside, a snapshot can be imported under the name this gives.

    Args:
        conninfo: how to connect to PostgreSQL.
        name: the snapshot; by default what is committed now.

    Raises:
        psycopg.Error: that snapshot is gone.
    """
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if name:
            await connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(name)))
        cursor = await connection.execute("SELECT pg_export_snapshot()")
        [[kept]] = await cursor.fetchall()
        yield str(kept)
