"""The manifest: what an export wrote, file by file, written last and beside the data.

Loaders take a manifest and nothing else: its existence says the export is verified, its file list keeps sentinels and
strays out of every load, and its hash says whether anybody has touched it since.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.paths import MANIFEST_NAME, is_attempt_name
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.materialize.types import EXPORTABLE_TYPES, Column
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.validation import describe_validation

# Anchored: pydantic searches, and a name must not lead to another folder.
_FILE_NAME = r"^mz-t\d+-batch-\d{4,}-\d{4,}\.(parquet|csv)$"


class DataFile(BaseModel):
    """One file: name below the path, size in bytes, ETag, rows by its own footer or records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_FILE_NAME)
    bytes: int = Field(ge=0)
    etag: str
    rows: int = Field(ge=0)


class Manifest(BaseModel):
    """A verified export.

    Attributes:
        run_key: The logical run it belongs to.
        export: The export's name as a path segment; with ``base`` it leads to the run record.
        base: Folder that holds the runs.
        path: Folder that holds the files and this manifest.
        copied: Rows by Materialize's answer; None where that was lost and the files were adopted.
        rows: Rows in the files.
        sha256: Hash over everything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    run_key: str
    export: str
    object: str
    base: str
    path: str
    format: Literal["parquet", "csv"]
    csv: CsvOptions | None = None
    spec_fingerprint: str
    columns: tuple[Column, ...]
    copied: int | None
    rows: int
    files: tuple[DataFile, ...] = Field(min_length=1)
    started_at: datetime
    finished_at: datetime
    sha256: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = [column.name for column in self.columns if column.type not in EXPORTABLE_TYPES]
        if unknown:
            raise ValueError(f"columns of unknown types: {', '.join(unknown)}")
        for what, names in (("file", [f.name for f in self.files]), ("column", [c.name for c in self.columns])):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} is listed twice")
        place = f"{self.base}{self.export}/"
        if not self.path.startswith(place) or not is_attempt_name(self.path[len(place) :], self.run_key):
            raise ValueError(f"{self.path} is not the path of an attempt of the run {self.run_key!r} below {place}")
        return self

    @property
    def location(self) -> Location:
        """Where the manifest itself lies."""
        return self.folder.child(MANIFEST_NAME)

    @property
    def folder(self) -> Location:
        """Where the files lie."""
        return parse_folder(self.path, field="path")

    @property
    def size(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    def hashed(self) -> Manifest:
        """This manifest with its hash filled in."""
        return self.model_copy(update={"sha256": self._digest()})

    def to_json(self) -> bytes:
        """The manifest as it is stored."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False).encode()

    def _digest(self) -> str:
        data = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def parse_manifest(body: bytes | str, *, source: str) -> Manifest:
    """Read a manifest and check it against itself.

    Args:
        body: JSON.
        source: Where it came from, named in errors.

    Raises:
        VerificationError: It is no manifest, its hash does not fit, or its numbers contradict each other.
    """
    hint = "Use the manifest that the export wrote, unchanged; 'mz-orchestration runs' names it."
    try:
        data: Any = json.loads(body)
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        raise VerificationError(
            f"{source} is not a manifest of ours: {describe_validation(error)}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{source} is not JSON: {error}.", hint=hint) from error
    if manifest.sha256 != manifest._digest():
        raise VerificationError(f"{source} was changed after it was written: its hash does not fit.", hint=hint)
    total = sum(file.rows for file in manifest.files)
    if total != manifest.rows or manifest.copied not in (None, manifest.rows):
        raise VerificationError(
            f"{source} contradicts itself: copied {manifest.copied}, rows {manifest.rows}, rows in files {total}.",
            hint=hint,
        )
    return manifest
