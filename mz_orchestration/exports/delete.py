"""Deleting the files of one finished export, once they have been loaded; the run record stays."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from mz_orchestration.errors import ConfigurationError, RunConflictError, VerificationError
from mz_orchestration.exports.manifest import DataFile, Manifest, parse_manifest
from mz_orchestration.exports.paths import MANIFEST_NAME
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.runs.record import LoadState
from mz_orchestration.runs.store import RunStore

_ATTEMPT = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}-\d{2}")
_DATA_FILE = re.compile(DataFile.model_json_schema()["properties"]["name"]["pattern"])


@dataclass(frozen=True, slots=True)
class DeletedExport:
    """What was deleted.

    Attributes:
        path: Folder of the files.
        files: Data files deleted now.
        bytes: Their size.
    """

    path: str
    files: int
    bytes: int

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values for XCom and asset events."""
        return {"path": self.path, "files": self.files, "bytes": self.bytes}


def delete_export(at: Location, store: ObjectStore | None = None) -> DeletedExport:
    """Delete an export's manifest and then its data files; again, it deletes what is left, if anything.

    Two requests, one per thousand files to list them, and one for each file.

    Args:
        at: The manifest, as the export named it.
        store: The object store; boto3's environment by default.

    Raises:
        ConfigurationError: It is not the place of a manifest of ours, so nothing is touched.
        RunConflictError: A load of it is in progress; retryable.
        VerificationError: Another manifest than this place's lies there.
    """
    store = store or ObjectStore()
    if at.name != MANIFEST_NAME or not _ATTEMPT.fullmatch(at.parent.name):
        raise ConfigurationError(
            f"manifest: {at} is not the manifest of an export of ours.",
            hint="Give the URL that the export returned, which ends with /_manifest.json.",
        )
    listed = store.list_objects(at.parent)
    if any(item.key == at.key for item in listed):
        manifest = parse_manifest(store.get(at)[0], source=str(at))
        if manifest.location != at:
            raise VerificationError(f"{at} is a copy of {manifest.location}.", hint="Delete the original.")
        _refuse_while_loading(manifest, store)
        # First, so that nobody begins to load what is being deleted.
        store.delete(at)
    files = [item for item in listed if _DATA_FILE.search(item.key[len(at.parent.key) :])]
    for item in files:
        store.delete(Location(at.bucket, item.key, at.scheme))
    return DeletedExport(str(at.parent), len(files), sum(item.size for item in files))


def _refuse_while_loading(manifest: Manifest, store: ObjectStore) -> None:
    stored = RunStore(store, parse_folder(manifest.base, field="base")).find(manifest.export, manifest.run_key)
    if stored is None:
        return
    loading = [load.target for load in stored.record.loads.values() if load.state is LoadState.STARTED]
    if loading:
        raise RunConflictError(
            f"The files in {manifest.path} are being loaded into {', '.join(loading)}.",
            hint="Let the load end, or run it again, then delete them.",
            retryable=True,
            details={"loads": json.dumps(loading)},
        )
