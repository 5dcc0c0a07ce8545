"""The pointer to an export's newest manifest, for readers that know no run key.

``<to>/<export>/_latest.json`` is replaced by conditional put, and only by an export that read later: an old run that
ends late does not take readers back in time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from mz_orchestration.errors import ConfigurationError, NotFoundError, RunConflictError, VerificationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.paths import LATEST_NAME, latest_location
from mz_orchestration.exports.stored_manifest import read_manifest
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location, parse_folder, parse_location
from mz_orchestration.validation import describe_validation

_TRIES = 10


class Latest(BaseModel):
    """What the pointer says.

    Attributes:
        manifest: URL of the manifest.
        sha256: The manifest's hash.
        timestamp: Logical timestamp it read at, in milliseconds since 1970; orders exports.
        started_at: Orders those whose timestamp is not known.
        rows: Rows in its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    manifest: str
    sha256: str
    run_key: str
    timestamp: int | None
    started_at: AwareDatetime
    rows: int

    @property
    def order(self) -> tuple[int, datetime]:
        """What tells the newer of two exports."""
        moment = int(self.started_at.timestamp() * 1000) if self.timestamp is None else self.timestamp
        return moment, self.started_at


def point_to_latest(store: ObjectStore, manifest: Manifest) -> bool:
    """Make the pointer lead to a manifest, unless it leads to a newer one; one GET and one PUT.

    Returns:
        Whether it leads there now.

    Raises:
        RunConflictError: Others kept writing it.
    """
    base = parse_folder(manifest.base, field="base")
    at = latest_location(base, manifest.export)
    mine = _pointer(manifest)
    for _ in range(_TRIES):
        try:
            there, etag = _read(store, at)
        except NotFoundError:
            there, etag = None, None
        except VerificationError:
            # Nothing of ours; a pointer can be made again from any manifest.
            there, etag = None, store.get(at)[1]
        if there == mine:
            return True
        # Believed only as far as its manifest bears it out: a pointer to what is gone must not hold up later ones.
        if there is not None and there.order > mine.order and _followed(store, there, base, manifest.export):
            return False
        try:
            store.put(at, mine.model_dump_json(indent=1).encode(), if_match=etag, create=etag is None)
        except PreconditionFailed:
            continue
        return True
    raise RunConflictError(
        f"{at} was written by others {_TRIES} times in a row.", hint="Run the same command again.", retryable=True
    )


def _pointer(manifest: Manifest) -> Latest:
    return Latest(
        manifest=str(manifest.location),
        sha256=manifest.sha256,
        run_key=manifest.run_key,
        timestamp=manifest.timestamp,
        started_at=manifest.started_at,
        rows=manifest.rows,
    )


def read_latest(store: ObjectStore, base: Location, export: str) -> Manifest:
    """The newest manifest of an export.

    Args:
        store: Where it lies.
        base: The folder that exports go to.
        export: The export's folder name, such as ``shop.orders``.

    Raises:
        NotFoundError: Nothing was exported yet, or the files were removed since.
        VerificationError: The pointer or the manifest is not what was written.
    """
    at = latest_location(base, export)
    latest, _ = _read(store, at)
    manifest = _followed(store, latest, base, export)
    if manifest is None:
        raise VerificationError(
            f"{at} leads to {latest.manifest}, which is not the manifest of {export} that it was written for.",
            hint="Export again: that replaces the pointer.",
        )
    return manifest


def _followed(store: ObjectStore, latest: Latest, base: Location, export: str) -> Manifest | None:
    """The manifest a pointer leads to, if all that the pointer says of it is true."""
    try:
        manifest = read_manifest(store, parse_location(latest.manifest, field="manifest"))
    except (ConfigurationError, VerificationError):
        return None
    same = manifest.base == str(base) and manifest.export == export and manifest.sha256 == latest.sha256
    return manifest if same and latest == _pointer(manifest) else None


def open_manifest(store: ObjectStore, at: Location) -> Manifest:
    """The manifest at a location, which may be that of a pointer to one.

    Raises:
        NotFoundError: Nothing is there.
        VerificationError: It is neither, or was changed.
    """
    if at.name != LATEST_NAME:
        return read_manifest(store, at)
    return read_latest(store, at.parent.parent, at.parent.name)


def _read(store: ObjectStore, at: Location) -> tuple[Latest, str]:
    body, etag = store.get(at)
    try:
        return Latest.model_validate_json(body), etag
    except ValidationError as error:
        raise VerificationError(
            f"{at} is not a pointer to a manifest: {describe_validation(error)}", hint="Export again to replace it."
        ) from error
