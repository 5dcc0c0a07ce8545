"""From an ended COPY to its manifest: sentinel gone, files verified, counts compared, manifest written last."""

from __future__ import annotations

from collections.abc import Sequence

from mz_orchestration import __version__
from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.context import ExportContext, ExportStep
from mz_orchestration.exports.latest import point_to_latest
from mz_orchestration.exports.manifest import DataFile, Manifest
from mz_orchestration.exports.sentinel import ExportState, Listing, read_listing
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.exports.statistics import read_described
from mz_orchestration.exports.stored_manifest import publish_manifest
from mz_orchestration.exports.verify import AGAIN, Verified, verify_files
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.flow import Flow, call, sleep
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.location import Location, parse_folder
from mz_orchestration.runs.record import Attempt
from mz_orchestration.runs.store import StoredRun

# How long after `COPY n` a listing may still show the sentinel, on stores that list with a delay.
SENTINEL_GRACE = 30.0


def publish(stored: StoredRun, spec: ExportSpec, columns: list[Column], context: ExportContext) -> Flow[Manifest]:
    """Verify the last attempt's files and write their manifest and the pointer to it.

    Raises:
        VerificationError: The files are not what was copied.
    """
    attempt = stored.record.attempts[-1]
    folder = parse_folder(attempt.path, field="path")
    with context.step(ExportStep.SENTINEL, "wait for the sentinel to be gone"):
        listing = yield from _settled_listing(folder, context)
    csv = spec.csv if spec.format == "csv" else None
    # Nobody vouches for the files of an adopted attempt but the files themselves.
    level = VerifyLevel.FOOTERS if attempt.copied is None and _lists_only(context) else context.policy.verify
    with context.step(ExportStep.VERIFY, "count the rows in the files" if level != "listing" else "list") as details:
        verified = yield from call(verify_files, context.store, folder, listing.data, columns, csv, level)
        for warning in verified.warnings:
            context.note(ExportStep.VERIFY, warning)
        rows = _agreed(attempt, folder, verified)
        counts: Sequence[int | None] = verified.rows or [None] * len(verified.files)
        details.update(rows=rows, files=len(verified.files))
    _, statistics = read_described(attempt.columns)
    if context.policy.statistics and statistics is None:
        context.note(ExportStep.MANIFEST, "the attempt began without statistics: the manifest has none")
    with context.step(ExportStep.MANIFEST, "write the manifest") as details:
        manifest = Manifest(
            run_key=stored.record.run_key,
            attempt=attempt.number,
            export=spec.folder_name,
            object=spec.object,
            base=str(spec.base),
            path=str(folder),
            format=spec.format,
            csv=csv,
            spec_fingerprint=stored.record.spec_fingerprint,
            cluster=attempt.cluster,
            timestamp=attempt.timestamp,
            columns=tuple(columns),
            statistics=statistics,
            verified=level,
            copied=attempt.copied,
            counted=attempt.counted,
            rows=rows,
            files=tuple(
                DataFile(name=item.key.rpartition("/")[2], bytes=item.size, etag=item.etag, rows=count)
                for item, count in zip(verified.files, counts, strict=True)
            ),
            started_at=attempt.started_at,
            copied_at=attempt.copied_at,
            finished_at=context.clock.now(),
            materialize_version=attempt.server,
            written_by=__version__,
        ).hashed()
        manifest = yield from call(publish_manifest, context.store, manifest)
        details["bytes"] = manifest.size
        if not (yield from call(point_to_latest, context.store, manifest)):
            context.note(ExportStep.MANIFEST, "a newer export of it has been published meanwhile")
    return manifest


def _lists_only(context: ExportContext) -> bool:
    return context.policy.verify is VerifyLevel.LISTING


def _agreed(attempt: Attempt, folder: Location, verified: Verified) -> int:
    """The number of rows that all who counted agree on."""
    counts = {"Materialize copied": attempt.copied, "a count at the same timestamp found": attempt.counted}
    if verified.rows is not None:
        counts = {f"the files in {folder} hold": sum(verified.rows), **counts}
    found = {text: count for text, count in counts.items() if count is not None}
    if len(set(found.values())) > 1:
        said = ", ".join(f"{text} {count}" for text, count in found.items())
        raise VerificationError(f"The numbers of rows disagree: {said}.", hint=AGAIN, details={"counts": said})
    return next(iter(found.values()))


def _settled_listing(folder: Location, context: ExportContext) -> Flow[Listing]:
    deadline = context.clock.monotonic() + SENTINEL_GRACE
    while True:
        listing = read_listing((yield from call(context.store.list_objects, folder)))
        if listing.state is ExportState.COMPLETE or context.clock.monotonic() >= deadline:
            break
        yield from sleep(1.0)
    if listing.state is not ExportState.COMPLETE:
        raise VerificationError(
            f"The COPY ended, but {folder} "
            + ("still holds its sentinel." if listing.state is ExportState.RUNNING else "holds no data file."),
            hint=AGAIN,
        )
    if listing.strangers:
        raise VerificationError(
            f"{folder} holds objects that this export did not write: {', '.join(listing.strangers[:5])}.",
            hint=f"Find out who writes there. {AGAIN}",
        )
    return listing
