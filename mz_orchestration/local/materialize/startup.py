"""A client's first packet: reading it, and writing the one PostgreSQL gets in its place."""

from __future__ import annotations

import asyncio
import re
import struct

from mz_orchestration.local.materialize import wire
from mz_orchestration.local.materialize.statements import VARIABLES

_LONGEST_STARTUP = 1 << 16


async def read_startup(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The code and the body of a startup packet."""
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    if not 8 <= length <= _LONGEST_STARTUP:
        raise ConnectionError(f"startup packet of {length} bytes")
    body = await reader.readexactly(length - 4)
    return int.from_bytes(body[:4], "big"), body[4:]


def startup_message(code: int, body: bytes, database: str) -> bytes:
    """The startup packet PostgreSQL gets: variables of Materialize become custom settings."""
    parameters = dict(wire.startup_parameters(body))
    parameters.setdefault("database", database)
    out = struct.pack("!i", code)
    for name, value in parameters.items():
        if name == "options":
            value = _OPTION.sub(_rename_option, value)
        out += wire.cstring(f"mz.{name}" if name in VARIABLES - {"database"} else name) + wire.cstring(value)
    out += b"\0"
    return struct.pack("!i", len(out) + 4) + out


_OPTION = re.compile(r"(?P<lead>(?:^|(?<=\s))(?:--|-c\s*))(?P<name>[\w.-]+)(?==)")


def _rename_option(found: re.Match[str]) -> str:
    name = found["name"].replace("-", "_")
    return f"{found['lead']}mz.{name}" if name in VARIABLES - {"database"} else found[0]
