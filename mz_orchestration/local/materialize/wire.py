"""Building and reading messages of PostgreSQL's wire protocol, version 3."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104

_INT16 = struct.Struct("!h")
_INT32 = struct.Struct("!i")


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message: type, length, body."""
    return kind + _INT32.pack(len(body) + 4) + body


def cstring(text: str | bytes) -> bytes:
    """A zero-terminated string."""
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return raw + b"\0"


def text_of(raw: bytes) -> str:
    """The text of bytes from the wire, whatever they are; ``cstring`` gives the same bytes back."""
    return raw.decode("utf-8", "surrogateescape")


def query(sql: str) -> bytes:
    """A simple query."""
    return message(b"Q", cstring(sql))


def parse(name: str | bytes, sql: str, types: bytes = b"\0\0") -> bytes:
    """A Parse; ``types`` is the raw list of parameter types."""
    return message(b"P", cstring(name) + cstring(sql) + types)


def bind(portal: str | bytes, name: str | bytes, values: Sequence[str] = ()) -> bytes:
    """A Bind with text parameters and text results."""
    body = cstring(portal) + cstring(name) + _INT16.pack(0) + _INT16.pack(len(values))
    for value in values:
        raw = value.encode()
        body += _INT32.pack(len(raw)) + raw
    return message(b"B", body + _INT16.pack(0))


def bound_values(body: bytes, at: int) -> int:
    """How many parameters a Bind carries; ``at`` is the offset after its two names."""
    (formats,) = _INT16.unpack_from(body, at)
    (count,) = _INT16.unpack_from(body, at + 2 + 2 * formats)
    return int(count)


def execute(portal: str | bytes) -> bytes:
    """An Execute without a limit on the number of rows."""
    return message(b"E", cstring(portal) + _INT32.pack(0))


def describe(kind: bytes, name: str | bytes) -> bytes:
    """A Describe of a statement (``S``) or a portal (``P``)."""
    return message(b"D", kind + cstring(name))


def copy_out(columns: int) -> bytes:
    """The beginning of a ``COPY ... TO STDOUT`` in text."""
    return message(b"H", b"\0" + columns.to_bytes(2, "big") + b"\0\0" * columns)


def close(kind: bytes, name: str | bytes) -> bytes:
    """A Close of a statement (``S``) or a portal (``P``)."""
    return message(b"C", kind + cstring(name))


SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")


def cut(body: bytes, at: int = 0) -> tuple[bytes, int]:
    """A zero-terminated string and the offset after it."""
    end = body.index(b"\0", at)
    return body[at:end], end + 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column as RowDescription tells it."""

    name: str
    oid: int
    modifier: int


def row_description(body: bytes) -> list[Column]:
    """The columns of a RowDescription."""
    (count,) = _INT16.unpack_from(body)
    at = 2
    columns = []
    for _ in range(count):
        name, at = cut(body, at)
        _table, _number, oid, _size, modifier, _format = struct.unpack_from("!ihIhih", body, at)
        at += 18
        columns.append(Column(text_of(name), oid, modifier))
    return columns


def data_row(body: bytes) -> list[str | None]:
    """The values of a DataRow in text format."""
    (count,) = _INT16.unpack_from(body)
    at = 2
    values: list[str | None] = []
    for _ in range(count):
        (length,) = _INT32.unpack_from(body, at)
        at += 4
        if length < 0:
            values.append(None)
        else:
            values.append(text_of(body[at : at + length]))
            at += length
    return values


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter."""
    return {text_of(part[:1]): text_of(part[1:]) for part in body.split(b"\0") if part}


def error_body(fields: dict[str, str]) -> bytes:
    """The body of an ErrorResponse or NoticeResponse."""
    return b"".join(key.encode() + cstring(value) for key, value in fields.items()) + b"\0"


def startup_parameters(body: bytes) -> Iterator[tuple[str, str]]:
    """The name and value pairs of a startup packet after its version."""
    at = 0
    while at < len(body) and body[at]:
        name, at = cut(body, at)
        value, at = cut(body, at)
        yield text_of(name), text_of(value)
