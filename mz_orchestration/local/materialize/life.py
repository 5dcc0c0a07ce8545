"""Moves the sinks and sources of the stand-in on, one call of ``mz_local.tick()`` after another."""

from __future__ import annotations

import asyncio
import sys

import psycopg

# A statement that changes what the tick needs is short, and the next tick sees what it did.
_LOCK_TIMEOUT = "1s"
_PAUSE_SECONDS = 0.5
_SHORTEST_PAUSE = 0.01
_EXPECTED = (psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable)


async def live(conninfo: str) -> None:
    """Go on until cancelled, or until PostgreSQL is gone.

    Args:
        conninfo: how the proxy itself connects. The tick has a connection of its own: a slow one holds up nobody.
    """
    async with await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, prepare_threshold=None, application_name="mz_local sinks"
    ) as connection:
        await connection.execute("SELECT set_config('lock_timeout', %s, false)", [_LOCK_TIMEOUT])
        said = ""
        while not connection.closed:
            pause = _PAUSE_SECONDS
            try:
                cursor = await connection.execute("SELECT mz_local.tick()")
                [[seconds]] = await cursor.fetchall()
                pause = max(float(seconds), _SHORTEST_PAUSE)
            except _EXPECTED:
                # Two changed the same at once. Nothing is lost: the next one makes up for it.
                pass
            except psycopg.Error as error:
                text = f"sinks: {error.diag.message_primary or error}"
                if text != said:
                    print(text, file=sys.stderr, flush=True)
                said = text
            await asyncio.sleep(pause)
