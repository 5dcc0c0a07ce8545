"""What to export: the validated description shared by the command line, Airflow and Dagster."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.materialize.query import refuse_unsafe_query
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.validation import validated

# https://materialize.com/docs/sql/copy-to/: MAX FILE SIZE lies between 16MB and 4GB, in units of 1024.
_UNITS = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
# Ten years: a date must come out of it.
_LONGEST = 10 * 365 * 86400.0
MIN_FILE_SIZE, MAX_FILE_SIZE = 16 << 20, 4 << 30


def parse_size(text: str) -> int:
    """Bytes of a Materialize size such as ``256MB``; units are powers of 1024 and case-sensitive.

    Raises:
        ValueError: It is no size, or outside 16MB to 4GB.
    """
    match = re.fullmatch(r"(\d+)\s*(B|kB|MB|GB|TB)?", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write for example 256MB (units B, kB, MB, GB, TB)")
    size = int(match[1]) * _UNITS[match[2] or "B"]
    if not MIN_FILE_SIZE <= size <= MAX_FILE_SIZE:
        raise ValueError(f"{text!r} is outside 16MB to 4GB, the range Materialize accepts")
    return size


def _one_byte(value: str) -> str:
    if len(value.encode()) != 1 or value in "\r\n":
        raise ValueError(f"{value!r} must be a single one-byte character other than a line break")
    return value


OneByte = Annotated[str, AfterValidator(_one_byte)]


class CsvOptions(BaseModel):
    """How CSV files are written; the defaults are Materialize's.

    Attributes:
        escape: The byte before a quote inside quotes; None means the quote itself.
        null: What an unquoted NULL looks like.
        header: One header line per file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: OneByte = ","
    null: str = ""
    quote: OneByte = '"'
    escape: OneByte | None = None
    header: bool = False

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must be different")
        if any(sign in self.null for sign in ("\n", "\r", self.delimiter, self.quote)):
            raise ValueError(f"null {self.null!r} must not contain a line break, the delimiter or the quote")
        return self


class ExportSpec(BaseModel):
    """One export.

    Attributes:
        object: Name of the table, source, view or materialized view, up to ``database.schema.name``, quoted as in
            SQL. With ``query`` it only names the export.
        to: Folder below which every run gets a path of its own, for example ``s3://bucket/exports/``.
        connection: Materialize's AWS connection.
        query: A SELECT to export in place of the object.
        cluster: Cluster the export runs on; None leaves the session's.
        max_file_size: Such as ``256MB``; 16MB to 4GB.
        safe_types: Cast columns whose meaning the file format would lose; without it they are written as they are.
        casts: SQL types to cast columns to, by column name; they win over the safe ones.
        timeout: Seconds the COPY may take before it is cancelled. The server's own time-outs do not cover COPY TO.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: str
    to: str
    connection: str
    query: str | None = None
    format: Literal["parquet", "csv"] = "parquet"
    csv: CsvOptions = CsvOptions()
    cluster: str | None = None
    max_file_size: str = "256MB"
    safe_types: bool = True
    casts: dict[str, str] = {}
    timeout: float = Field(default=6 * 3600, gt=0, allow_inf_nan=False)

    @field_validator("object", "connection")
    @classmethod
    def _a_name(cls, value: str) -> str:
        parse_object_name(value)
        return value

    @field_validator("to")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        return str(parse_folder(value, field="to"))

    @field_validator("query")
    @classmethod
    def _a_single_select(cls, value: str | None) -> str | None:
        if value is not None:
            refuse_unsafe_query(value)
        return value

    @field_validator("max_file_size")
    @classmethod
    def _a_size(cls, value: str) -> str:
        parse_size(value)
        return value

    @model_validator(mode="after")
    def _csv_options_with_csv(self) -> Self:
        if self.format != "csv" and self.csv != CsvOptions():
            raise ValueError("delimiter, null, quote, escape and header apply to format=csv only")
        return self

    @property
    def base(self) -> Location:
        """The folder of ``to``."""
        return parse_folder(self.to, field="to")

    @property
    def folder_name(self) -> str:
        """The path segment that stands for the export: its name, made safe and unique for any identifier."""
        parts = parse_object_name(self.object)
        safe = ".".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in parts)
        if safe == ".".join(parts) and safe.count(".") == len(parts) - 1:
            return safe
        # Two names that differ only in what a path cannot hold must not share a folder.
        return f"{safe}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"

    def deadline(self, start: datetime) -> datetime:
        """When a COPY that began at ``start`` is cancelled."""
        return start + timedelta(seconds=min(self.timeout, _LONGEST))

    def earliest(self, now: datetime) -> datetime:
        """When a COPY that is still running now may have begun."""
        return now - timedelta(seconds=min(self.timeout, _LONGEST))

    def fingerprint(self) -> str:
        """A hash of everything that decides which rows and files come out; the deadline does not."""
        data = self.model_dump(mode="json", exclude={"timeout"})
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def export_spec(**fields: Any) -> ExportSpec:
    """An `ExportSpec` whose refusals are `ConfigurationError`, naming field, value and reason.

    Raises:
        ConfigurationError: A field is missing, unknown or wrong.
    """
    return validated(ExportSpec, **fields)
