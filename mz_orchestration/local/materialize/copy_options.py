"""The options and the target of ``COPY ... TO <expression>``, with Materialize's error texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from mz_orchestration.local.materialize.copy_grammar import OptionValue
from mz_orchestration.local.materialize.errors import StatementError
from mz_orchestration.local.materialize.job import CsvOptions
from mz_orchestration.local.materialize.tokens import Token

Format = Literal["csv", "parquet", "text", "binary"]

_UNITS = {"": 1, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_SMALLEST = 16 << 20
_LARGEST = 4 << 30
_DEFAULT = 256 << 20

# What the URI parser takes in a path: no blanks, no quotes, no letters beyond ASCII.
_URI = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)(?:[?#].*)?")
_ALLOWED = re.compile(r"[!#-;=?-_a-z|~{}`\"]*")


def _text(value: OptionValue, name: str) -> str:
    if isinstance(value, Token):
        if value.value is not None:
            return value.value
        if value.name is not None:
            return value.name
        return value.text
    raise StatementError(f"{name} requires a value")


def file_format(options: Mapping[str, OptionValue]) -> Format:
    """The FORMAT option, which must be there."""
    if "FORMAT" not in options:
        raise StatementError("COPY TO <expr> requires a FORMAT option")
    given = _text(options["FORMAT"], "FORMAT")
    lowered = given.lower()
    if lowered == "csv":
        return "csv"
    if lowered == "parquet":
        return "parquet"
    if lowered == "text":
        return "text"
    if lowered == "binary":
        return "binary"
    raise StatementError(f"unknown FORMAT: {given}")


def refuse_unsupported(chosen: Format) -> None:
    """Text and binary exist as formats, but not for a target in a store."""
    if chosen in ("text", "binary"):
        raise StatementError(f"FORMAT {chosen.upper()} not yet supported")


def csv_options(options: Mapping[str, OptionValue]) -> CsvOptions:
    """DELIMITER, QUOTE, ESCAPE, NULL and HEADER."""
    delimiter = _one_byte(options, "DELIMITER", ",")
    quote = _one_byte(options, "QUOTE", '"')
    escape = _one_byte(options, "ESCAPE", quote)
    if delimiter == quote:
        raise StatementError("COPY delimiter and quote must be different")
    null = _text(options["NULL"], "NULL") if "NULL" in options else ""
    return CsvOptions(delimiter, quote, escape, null, _flag(options, "HEADER"))


def _one_byte(options: Mapping[str, OptionValue], name: str, default: str) -> str:
    if name not in options:
        return default
    value = _text(options[name], name)
    if len(value.encode()) != 1:
        raise StatementError(f"COPY {name.lower()} must be a single one-byte character")
    return value


def _flag(options: Mapping[str, OptionValue], name: str) -> bool:
    if name not in options:
        return False
    if options[name] is None:
        return True
    text = _text(options[name], name).lower()
    if text in ("true", "t", "on", "yes", "1"):
        return True
    if text in ("false", "f", "off", "no", "0"):
        return False
    raise StatementError(f'invalid {name} option value: invalid input syntax for type boolean: "{text}"')


def max_file_size(options: Mapping[str, OptionValue]) -> int:
    """MAX FILE SIZE in bytes."""
    if "MAX FILE SIZE" not in options:
        return _DEFAULT
    value = options["MAX FILE SIZE"]
    # Unlike a name it keeps its case: units are case-sensitive.
    text = value.text if isinstance(value, Token) and value.kind == "word" else _text(value, "MAX FILE SIZE")
    found = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2] not in _UNITS:
        raise StatementError(
            f'invalid MAX FILE SIZE option value: couldn\'t parse "{text}" into a size; '
            "the units are B, kB, MB, GB and TB, in this spelling"
        )
    size = int(found[1]) * _UNITS[found[2]]
    if size < _SMALLEST:
        raise StatementError("MAX FILE SIZE cannot be less than 16MB")
    if size > _LARGEST:
        raise StatementError("MAX FILE SIZE cannot be greater than 4GB")
    return size


def parse_target(target: str) -> tuple[str, str]:
    """The bucket and the path of a target, the path without slashes at its ends; it is not decoded."""
    failure = "could not parse COPY TO target url: {}"
    if not target:
        raise StatementError(failure.format("empty string"))
    if not _ALLOWED.fullmatch(target):
        raise StatementError(failure.format("invalid uri character"))
    found = _URI.fullmatch(target)
    if found is None or (found["scheme"] is not None and not found["authority"]):
        raise StatementError(failure.format("invalid format"))
    if (found["scheme"] or "").lower() not in ("s3", "gs"):
        raise StatementError("only 's3://...' and 'gs://...' urls are supported as COPY TO target")
    return found["authority"], found["path"].strip("/")
