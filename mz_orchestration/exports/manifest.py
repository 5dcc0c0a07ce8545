"""The manifest: what an export wrote, file by file, written last and beside the data.

Loaders take a manifest and nothing else: its existence says the export is verified, its file list keeps sentinels and
strays out of every load, and its hash says whether anybody has touched it since.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mz_orchestration.errors import ConfigurationError, VerificationError
from mz_orchestration.exports.paths import MANIFEST_NAME, is_attempt_name
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.statistics import Statistics
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import EXPORTABLE_TYPES, Column
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.validation import describe_validation

# Anchored: pydantic searches, and a name must not lead to another folder.
_SEGMENT = r"^[A-Za-z0-9_.-]+$"
_FILE_NAME = r"^mz-t\d+-batch-\d{4,}-\d{4,}\.(parquet|csv)$"


class DataFile(BaseModel):
    """One data file.

    Attributes:
        name: Below the manifest's path.
        bytes: Size.
        etag: As listed when the file was verified; a slow replica may put the same rows there once more.
        rows: By the file's own footer or records; None where the files were listed only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_FILE_NAME)
    bytes: int = Field(ge=0)
    etag: str
    rows: int | None = Field(ge=0)


class Manifest(BaseModel):
    """A verified export.

    Attributes:
        run_key: The logical run it belongs to.
        attempt: Which attempt of the run wrote the files, from 1.
        export: The export's name as a path segment; with ``base`` it leads to the run record.
        base: Folder that holds the runs.
        path: Folder that holds the files and this manifest.
        cluster: Cluster of Materialize that wrote the files.
        timestamp: Logical timestamp the rows were read at, in milliseconds since 1970.
        columns: In order, with the types they have in Materialize and the casts they were exported with.
        statistics: What Materialize said of the columns at the same timestamp, where it was asked.
        verified: How closely the files were looked at: ``listing``, ``footers`` or ``full``.
        copied: Rows by Materialize's answer to COPY; None where that was lost and the files were adopted.
        counted: Rows by a count at the same timestamp, where one was asked for.
        rows: Rows in the files; at level ``listing`` as copied.
        started_at: When the attempt began.
        copied_at: When Materialize answered.
        finished_at: When the files were verified.
        materialize_version: The server's version.
        written_by: Version of this package.
        sha256: Hash over everything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    run_key: str
    attempt: int = Field(ge=1)
    export: str = Field(pattern=_SEGMENT)
    object: str
    base: str
    path: str
    format: Literal["parquet", "csv"]
    csv: CsvOptions | None = None
    spec_fingerprint: str
    cluster: str
    timestamp: int | None
    columns: tuple[Column, ...]
    statistics: Statistics | None = None
    verified: VerifyLevel
    copied: int | None
    counted: int | None
    rows: int
    files: tuple[DataFile, ...] = Field(min_length=1)
    started_at: AwareDatetime
    copied_at: AwareDatetime | None
    finished_at: AwareDatetime
    materialize_version: str
    written_by: str
    sha256: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = [column.name for column in self.columns if column.exported.type not in EXPORTABLE_TYPES]
        if unknown:
            raise ValueError(f"columns of unknown types: {', '.join(unknown)}")
        if self.statistics and [c.name for c in self.statistics.columns] != [c.name for c in self.columns]:
            raise ValueError("the statistics are not those of the columns")
        for what, names in (("file", [f.name for f in self.files]), ("column", [c.name for c in self.columns])):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} is listed twice")
        for field, text in (("base", self.base), ("path", self.path)):
            try:
                folder = str(parse_folder(text, field=field))
            except ConfigurationError as error:
                raise ValueError(error.message) from None
            if text != folder:
                raise ValueError(f"{field}: {text!r} is not the folder {folder!r}")
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

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema of stored manifests, as the documentation has it."""
        dialect = "https://json-schema.org/draft/2020-12/schema"
        return {"$schema": dialect, **cls.model_json_schema(mode="serialization")}

    def hashed(self) -> Manifest:
        """This manifest with its hash filled in."""
        return self.model_copy(update={"sha256": self._digest()})

    def to_json(self) -> bytes:
        """The manifest as it is stored."""
        return json.dumps(self.to_data(), indent=1, ensure_ascii=False).encode()

    def to_data(self) -> dict[str, Any]:
        """The manifest as JSON has it; without statistics it is what it was before there were any, hash and all."""
        return self.model_dump(mode="json", exclude=None if self.statistics else {"statistics"})

    def _digest(self) -> str:
        data = self.to_data()
        del data["sha256"]
        return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def parse_manifest(body: bytes | str, *, source: str) -> Manifest:
    """Read a manifest and check it against itself.

    Args:
        body: JSON.
        source: Where it came from, named in errors.

    Raises:
        VerificationError: It is no manifest, its hash does not fit, or its numbers contradict each other.
    """
    hint = "Use the manifest that the export wrote, unchanged; 'mz-orchestration runs show KEY --at FOLDER' names it."
    try:
        data: Any = json.loads(body)
        # Python reads half of a surrogate pair, which no UTF-8 and so no hash can hold.
        json.dumps(data, ensure_ascii=False).encode()
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        raise VerificationError(
            f"{source} is not a manifest of ours: {describe_validation(error)}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{source} is not JSON: {error}.", hint=hint) from error
    if manifest.sha256 != manifest._digest():
        raise VerificationError(f"{source} was changed after it was written: its hash does not fit.", hint=hint)
    counts = [file.rows for file in manifest.files]
    total = manifest.rows if None in counts else sum(count or 0 for count in counts)
    if (None in counts) != (manifest.verified is VerifyLevel.LISTING) or any(
        count not in (None, manifest.rows) for count in (total, manifest.copied, manifest.counted)
    ):
        raise VerificationError(
            f"{source} contradicts itself: copied {manifest.copied}, counted {manifest.counted}, rows {manifest.rows}, "
            f"rows in files {total}, verified by {manifest.verified}.",
            hint=hint,
        )
    return manifest
