"""Manifests in the store: written once, and checked before anything is done with them.

A hash can be recomputed by whoever changes a manifest; the objects, their footers and the run record cannot be
talked into agreeing. One listing, and one ranged GET per Parquet file; CSV is counted again only where no run
record vouches for it, or where a file was written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mz_orchestration.errors import NotFoundError, VerificationError
from mz_orchestration.exports.manifest import Manifest, parse_manifest
from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.exports.verify import AGAIN, rewritten_warning, verify_files
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location

_HINT = "Use the manifest as the export wrote it, or export again under a new run key."
_NAMED = 10


def read_manifest(store: ObjectStore, at: Location) -> Manifest:
    """The manifest at a location, checked against itself.

    Raises:
        NotFoundError: Nothing is there.
        VerificationError: It is no manifest of ours, or was changed.
    """
    try:
        body, _ = store.get(at)
    except NotFoundError as error:
        error.hint = (
            error.hint
            or "Name the _manifest.json that an export wrote; 'mz-orchestration runs show KEY --at FOLDER' tells."
        )
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
        if not _agree(earlier, manifest):
            raise VerificationError(
                f"{manifest.location} is there already and describes other files.", hint=AGAIN
            ) from None
        return earlier
    return manifest


def check_against_store(store: ObjectStore, manifest: Manifest, recorded: Mapping[str, Any] | None) -> list[str]:
    """Make sure that the files are the ones the export wrote, whole, or hold what those held.

    A file that was written again, as a slower replica does after success, must have the rows and columns of the
    manifest. CSV says little of itself; but the same rows, in whichever order, take the same bytes in all files of
    their batch together.

    Args:
        store: Where they lie.
        manifest: What is claimed.
        recorded: The manifest as the run record holds it, if there is a record.

    Returns:
        Warnings, one sentence each.

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
    if listing.state is ExportState.RUNNING:
        found.append("a sentinel says that an export is being written there")
    rewritten = {name for name, item in there.items() if name in claimed and item.etag != claimed[name].etag}
    found += [
        f"{name} has {item.size} bytes, {claimed[name].bytes} in the manifest"
        for name, item in there.items()
        if name in claimed and name not in rewritten and item.size != claimed[name].bytes
    ]
    _refuse(found, manifest)
    everything = manifest.format == "parquet" or recorded is None
    files = [there[name] for name in claimed if everything or name in rewritten]
    verified = verify_files(store, folder, files, manifest.columns, manifest.csv)
    sizes = {name: item.size for name, item in there.items()}
    for item, rows in zip(verified.files, verified.rows or (), strict=True):
        file = claimed[item.key.removeprefix(folder.key)]
        sizes[file.name] = item.size
        if item.etag != file.etag:
            rewritten.add(file.name)
        if file.rows not in (None, rows):
            again = " since it was written again" if file.name in rewritten else ""
            found.append(f"{file.name} holds {rows} rows{again}, {file.rows} in the manifest")
    if manifest.format == "csv":
        now, then = _batch_sizes(sizes), _batch_sizes({file.name: file.bytes for file in manifest.files})
        found += [
            f"{batch}-* have {now[batch]} bytes since they were written again, {then[batch]} in the manifest"
            for batch in sorted({_batch(name) for name in rewritten})
            if now[batch] != then[batch]
        ]
    _refuse(found, manifest)
    return [rewritten_warning(rewritten, folder)] if rewritten else []


def _refuse(found: list[str], manifest: Manifest) -> None:
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise VerificationError(
            f"The files in {manifest.path} do not agree with the manifest: {'; '.join(found[:_NAMED])}{more}.",
            hint=_HINT,
            details={"findings": len(found)},
        )


def _batch(name: str) -> str:
    """A file's name without its number: which rows a batch holds follows from the rows alone."""
    return name.rpartition("-")[0]


def _batch_sizes(sizes: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, size in sizes.items():
        found[_batch(name)] += size
    return found


def _agree(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests claim the same of their files.

    Whoever wrote them, however closely the files were looked at and whichever replica wrote those last: who adopts
    files does not know how many rows Materialize copied, and who only lists them not how many each holds.
    """
    fields = {"run_key", "export", "object", "base", "path", "format", "csv", "spec_fingerprint", "columns", "rows"}
    if None not in (one.copied, other.copied):
        fields.add("copied")
    if one.model_dump(include=fields) != other.model_dump(include=fields) or len(one.files) != len(other.files):
        return False
    return all(
        a.name == b.name and (a.rows == b.rows or None in (a.rows, b.rows))
        for a, b in zip(one.files, other.files, strict=True)
    )
