"""Manifests in the store: written once, and checked before anything is done with them.

A hash can be recomputed by whoever changes a manifest; the objects, their footers and the run record cannot be
talked into agreeing. One listing, and one ranged GET per Parquet file; CSV is counted again only where no run
record vouches for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mz_orchestration.errors import NotFoundError, VerificationError
from mz_orchestration.exports.manifest import Manifest, parse_manifest
from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.exports.verify import AGAIN, count_rows
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location

_HINT = "Use the manifest as the export wrote it, or export again under a new run key."


def read_manifest(store: ObjectStore, at: Location) -> Manifest:
    """The manifest at a location, checked against itself.

    Raises:
        NotFoundError: Nothing is there.
        VerificationError: It is no manifest of ours, or was changed.
    """
    try:
        body, _ = store.get(at)
    except NotFoundError as error:
        error.hint = error.hint or "Name the _manifest.json that an export wrote; 'mz-orchestration runs' lists them."
        raise
    manifest = parse_manifest(body, source=str(at))
    if manifest.location != at:
        raise VerificationError(
            f"{at} is a copy: the manifest belongs at {manifest.location}.", hint=f"Load {manifest.location}."
        )
    return manifest


def publish_manifest(store: ObjectStore, manifest: Manifest) -> Manifest:
    """Write a manifest beside its files, once and for all.

    Returns:
        The manifest that lies there now: this one, or the one of a process that was killed behind this very step.

    Raises:
        VerificationError: One that says something else lies there.
    """
    try:
        store.put(manifest.location, manifest.to_json(), create=True)
    except PreconditionFailed:
        earlier = read_manifest(store, manifest.location)
        # Who adopts files does not know the count that Materialize answered; who wrote the earlier manifest may.
        free = {"finished_at", "sha256"} | ({"copied"} if manifest.copied is None else set())
        if earlier.model_dump(exclude=free) != manifest.model_dump(exclude=free):
            raise VerificationError(
                f"{manifest.location} is there already and describes other files.", hint=AGAIN
            ) from None
        return earlier
    return manifest


def check_against_store(store: ObjectStore, manifest: Manifest, recorded: Mapping[str, Any] | None) -> None:
    """Make sure that the files are the ones the export wrote, whole and unchanged.

    Args:
        store: Where they lie.
        manifest: What is claimed.
        recorded: The manifest as the run record holds it, if there is a record.

    Raises:
        VerificationError: Something differs; every difference is named.
    """
    if recorded is not None and recorded.get("sha256") != manifest.sha256:
        raise VerificationError(
            f"The manifest of {manifest.path} is not the one that the run {manifest.run_key!r} recorded.", hint=_HINT
        )
    folder = manifest.folder
    listing = read_listing(store.list_objects(folder))
    there = {item.key.removeprefix(folder.key): item for item in listing.data}
    claimed = {file.name: file for file in manifest.files}
    found = [f"{name} is gone" for name in claimed if name not in there]
    found += [f"{name} is not in the manifest" for name in there if name not in claimed]
    for name, file in claimed.items():
        item = there.get(name)
        if item is not None and item.size != file.bytes:
            found.append(f"{name} has {item.size} bytes, {file.bytes} in the manifest")
        elif item is not None and item.etag != file.etag:
            found.append(f"{name} was written again since (ETag {item.etag}, {file.etag} in the manifest)")
    if listing.state is ExportState.RUNNING:
        found.append("a sentinel says that an export is being written there")
    if not found and (manifest.format == "parquet" or recorded is None):
        rows = count_rows(store, folder, [there[name] for name in claimed], manifest.columns, manifest.csv)
        found = [
            f"{file.name} holds {count} rows, {file.rows} in the manifest"
            for file, count in zip(manifest.files, rows, strict=True)
            if file.rows != count
        ]
    if found:
        raise VerificationError(
            f"The files in {manifest.path} do not agree with the manifest: {'; '.join(found[:10])}.",
            hint=_HINT,
            details={"findings": len(found)},
        )
