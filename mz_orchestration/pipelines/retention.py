"""The end of old runs: their export files, manifests and records, once no limit of the pipeline's keeps them.

Of a run that goes, the manifest is deleted first, so that nobody begins to load what is about to vanish, then the files
that it names, one by one, and the run record last: a retention that is killed half-way is simply gone on with. What
failed exports left behind is the sweep's.

Cost: a listing and a GET per run record of each export, and of the pipeline's own; four GETs and a DELETE per object
for each run that goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mz_orchestration.errors import CredentialsError, MzOrchestrationError, NotFoundError
from mz_orchestration.exports.group_record import find_group, group_location
from mz_orchestration.exports.manifest import Manifest, parse_manifest
from mz_orchestration.exports.paths import latest_location
from mz_orchestration.exports.sweep.io import in_threads
from mz_orchestration.flow import Flow, call
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.pipelines.expiry import FinishedRun, to_delete
from mz_orchestration.pipelines.planning import ExportNode, RetentionNode
from mz_orchestration.pipelines.record import NodeState, PipelineState, pipeline_folder, pipeline_record_location
from mz_orchestration.pipelines.run_names import logical_run
from mz_orchestration.pipelines.store import PipelineStore
from mz_orchestration.pipelines.tools import NodeResult, Tools
from mz_orchestration.progress import Progress
from mz_orchestration.runs.record import LoadState, RunRecord
from mz_orchestration.runs.store import RunStore, StoredRun

_PERMISSIONS = "Retention needs s3:ListBucket, s3:GetObject and s3:DeleteObject below the folder of each export and of "
_PERMISSIONS += "the pipeline's records."


class RetentionStep(StrEnum):
    """The steps of a retention."""

    LOOK = "look"
    DELETE = "delete"
    TIDY = "tidy"


@dataclass(slots=True)
class _Tally:
    runs: int = 0
    files: int = 0
    bytes: int = 0
    kept: int = 0
    kept_files: int = 0
    kept_bytes: int = 0
    unreadable: int = 0

    def metadata(self) -> dict[str, int | float | str]:
        named = {
            "runs_deleted": self.runs,
            "files_deleted": self.files,
            "bytes_deleted": self.bytes,
            "runs_kept": self.kept,
            "files_kept": self.kept_files,
            "bytes_kept": self.kept_bytes,
        }
        return {**named, "unreadable": self.unreadable} if self.unreadable else {**named}


@dataclass(slots=True)
class _Runs:
    """One logical run's records of one export: more than one where a group's earlier generation was given up."""

    name: str
    finished: list[tuple[StoredRun, Manifest]] = field(default_factory=list)
    unfinished: list[RunRecord] = field(default_factory=list)


def retention_flow(node: RetentionNode, pipeline: str, base: Location, tools: Tools) -> Flow[NodeResult]:
    """Delete what the limits do not keep.

    Args:
        node: The exports, and the limits.
        pipeline: Its name; runs of others are not touched.
        base: Folder that the pipeline's records lie below.
        tools: What to work with.

    Raises:
        MzOrchestrationError: Something could not be listed, read or deleted; the message says how far it got, and
            another call goes on from there.
    """
    progress = Progress(tools.clock, tools.on_event)
    now, tally = tools.clock.now(), _Tally()
    remaining: set[str] = set()
    doomed: list[tuple[ExportNode, _Runs]] = []
    with progress.step(RetentionStep.LOOK, "read which runs there are") as details:
        unfinished = yield from call(_unfinished, tools.store, pipeline, base)
        for export in node.exports:
            found = yield from call(_read_runs, tools.store, export, pipeline, tally)
            latest = yield from call(_latest, tools.store, export)
            candidates = [_candidate(runs, latest, unfinished) for runs in found.values() if runs.finished]
            gone = {run.name for run in to_delete(candidates, node.spec, now)}
            remaining |= {runs.name for runs in found.values() if runs.finished or _in_use(runs)} - gone
            for runs in found.values():
                if runs.name in gone:
                    doomed.append((export, runs))
                else:
                    _keep(tally, runs)
        details.update(runs=len(doomed), kept=tally.kept)
    if tally.unreadable:
        progress.note(RetentionStep.LOOK, f"left alone what is no readable record: {tally.unreadable}")
    if doomed:
        with progress.step(RetentionStep.DELETE, "delete what no limit keeps") as details:
            for export, runs in doomed:
                # One call for each, so that an interrupt is heeded in between.
                well = yield from call(_delete_run, tools.store, export, runs, tally, len(doomed))
                if not well:
                    progress.note(RetentionStep.DELETE, f"{export.item} of the run {runs.name!r} is in use: kept")
                    remaining.add(runs.name)
            details.update(runs=tally.runs, files=tally.files, bytes=tally.bytes)
    with progress.step(RetentionStep.TIDY, "delete the records of runs that are gone") as details:
        details["records"] = yield from call(_tidy, tools.store, node, pipeline, base, remaining, now)
    metadata = tally.metadata()
    return NodeResult(" ".join(f"{name}={value}" for name, value in metadata.items()), metadata, not tally.runs)


def _read_runs(store: ObjectStore, export: ExportNode, pipeline: str, tally: _Tally) -> dict[str, _Runs]:
    """The pipeline's runs of an export by name."""
    base, folder = export.spec.base, export.spec.folder_name
    runs = RunStore(store, base)

    def read(key: str) -> StoredRun | MzOrchestrationError | None:
        try:
            return runs.at(Location(base.bucket, key, base.scheme))
        except MzOrchestrationError as error:
            if error.retryable or isinstance(error, CredentialsError | NotFoundError):
                raise
            return error

    found: dict[str, _Runs] = {}
    with _allowed():
        answers = in_threads(read, [item.key for item in runs.listed(folder)])
    for stored in answers:
        if not isinstance(stored, StoredRun):
            tally.unreadable += stored is not None
            continue
        name = logical_run(stored.record, pipeline, export)
        if name is None:
            continue
        entry = found.setdefault(name, _Runs(name))
        if stored.record.manifest is None:
            entry.unfinished.append(stored.record)
            continue
        try:
            manifest = parse_manifest(json.dumps(stored.record.manifest), source=str(stored.location))
        except MzOrchestrationError:
            manifest = None
        # The list of what is deleted is believed only where it lies within this export's own folder.
        if manifest is None or (manifest.run_key, manifest.base, manifest.export) != (
            stored.record.run_key,
            str(base),
            folder,
        ):
            tally.unreadable += 1
            entry.unfinished.append(stored.record)
        else:
            entry.finished.append((stored, manifest))
    return found


def _latest(store: ObjectStore, export: ExportNode) -> str:
    """The manifest that readers without a run key are led to; empty where there is no such pointer."""
    try:
        with _allowed():
            body, _ = store.get(latest_location(export.spec.base, export.spec.folder_name))
        said = json.loads(body)
    except (NotFoundError, ValueError):
        return ""
    return str(said.get("manifest", "")) if isinstance(said, dict) else ""


def _unfinished(store: ObjectStore, pipeline: str, base: Location) -> set[str]:
    """The runs of the pipeline that still have something to load or to sync, begun or not."""
    over = (NodeState.SUCCEEDED, NodeState.PENDING)
    with _allowed():
        records = PipelineStore(store, base).recent(pipeline, len(store.list_objects(pipeline_folder(base, pipeline))))
    found = set()
    for record in records:
        states = [node.state for node in record.nodes if node.kind in ("load", "sync")]
        if any(state not in over for state in states) or (
            NodeState.PENDING in states and record.state is not PipelineState.SUCCEEDED
        ):
            found.add(record.run_key)
    return found


def _candidate(runs: _Runs, latest: str, unfinished: set[str]) -> FinishedRun:
    manifests = [manifest for _, manifest in runs.finished]
    in_use = any(str(manifest.location) == latest for manifest in manifests) or _in_use(runs)
    in_use = in_use or runs.name in unfinished
    return FinishedRun(runs.name, max(_read_at(manifest) for manifest in manifests), in_use)


def _read_at(manifest: Manifest) -> datetime:
    if manifest.timestamp is None:
        return manifest.started_at
    return datetime.fromtimestamp(manifest.timestamp / 1000, tz=manifest.started_at.tzinfo)


def _in_use(runs: _Runs) -> bool:
    records = [*(stored.record for stored, _ in runs.finished), *runs.unfinished]
    return any(_busy(record) for record in records)


def _busy(record: RunRecord) -> bool:
    if any(load.state is not LoadState.SUCCEEDED for load in record.loads.values()):
        return True
    return record.manifest is None and (not record.attempts or record.attempts[-1].open)


def _keep(tally: _Tally, runs: _Runs) -> None:
    tally.kept += bool(runs.finished)
    tally.kept_files += sum(len(manifest.files) for _, manifest in runs.finished)
    tally.kept_bytes += sum(manifest.size for _, manifest in runs.finished)


def _delete_run(store: ObjectStore, export: ExportNode, runs: _Runs, tally: _Tally, of: int) -> bool:
    """Delete a run of an export; False if somebody has begun to load it since it was looked at."""
    try:
        for stored, manifest in runs.finished:
            now = RunStore(store, export.spec.base).at(stored.location)
            if now is not None and _busy(now.record):
                _keep(tally, runs)
                return False
            with _allowed():
                store.delete(manifest.location)
                in_threads(store.delete, [manifest.folder.child(file.name) for file in manifest.files])
                _delete_group(store, export, stored.record)
                store.delete(stored.location)
            tally.files += len(manifest.files)
            tally.bytes += manifest.size
    except MzOrchestrationError as error:
        error.message = f"{tally.runs} of {of} old runs are deleted, then: {error.message}"
        error.hint = f"{error.hint} Another retention goes on from there.".lstrip()
        raise
    tally.runs += 1
    return True


def _delete_group(store: ObjectStore, export: ExportNode, record: RunRecord) -> None:
    """Delete a group's record with its last member, before that one's own: nothing would lead to it any more."""
    if record.group is None:
        return
    base, runs = export.spec.base, RunStore(store, export.spec.base)
    group = find_group(store, base, record.group.run_key)
    if group is None or group.member_key() != record.run_key:
        return
    others = [folder for folder in group.manifests if folder != export.spec.folder_name]
    if all(runs.find(folder, group.member_key()) is None for folder in others):
        store.delete(group_location(base, record.group.run_key))


def _tidy(
    store: ObjectStore, node: RetentionNode, pipeline: str, base: Location, remaining: set[str], now: datetime
) -> int:
    """Delete the records of pipeline runs of which nothing is left, but for the newest; how many they were."""
    with _allowed():
        listed = len(store.list_objects(pipeline_folder(base, pipeline)))
        records = PipelineStore(store, base).recent(pipeline, listed)
        ended = [record for record in records if record.state is not PipelineState.RUNNING]
        candidates = [FinishedRun(each.run_key, each.created_at, each.run_key in remaining) for each in ended]
        old = to_delete(candidates, node.spec, now)
        in_threads(store.delete, [pipeline_record_location(base, pipeline, run.name) for run in old])
    return len(old)


@contextmanager
def _allowed() -> Iterator[None]:
    """Name what a retention may need where the store refuses."""
    try:
        yield
    except CredentialsError as error:
        error.hint = _PERMISSIONS
        raise
