"""Records of pipeline runs in the object store, each guarded by conditional writes as run records are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from mz_orchestration.errors import NotFoundError, RunConflictError, VerificationError
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.pipelines.record import (
    PIPELINES_FOLDER,
    PipelineRecord,
    pipeline_folder,
    pipeline_record_location,
)
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.runs.store import put_over
from mz_orchestration.validation import describe_validation


@dataclass(slots=True)
class StoredPipeline:
    """A record together with the version it was read as; ``etag`` is None until first written."""

    record: PipelineRecord
    location: Location
    etag: str | None


class PipelineStore:
    """The records below one folder."""

    def __init__(self, store: ObjectStore, base: Location) -> None:
        self._store = store
        self._base = base

    def new(self, record: PipelineRecord) -> StoredPipeline:
        """A record that has not been written yet."""
        return StoredPipeline(record, pipeline_record_location(self._base, record.pipeline, record.run_key), None)

    def find(self, pipeline: str, run_key: str) -> StoredPipeline | None:
        """The record of a run, or None; one GET.

        Raises:
            NotFoundError: The bucket does not exist.
            VerificationError: What lies there is no record of a pipeline run.
        """
        try:
            return self._read(pipeline_record_location(self._base, pipeline, run_key))
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise
            return None

    def save(self, run: StoredPipeline, now: datetime) -> None:
        """Write the record over the version it was read as.

        Raises:
            RunConflictError: Another process has written it since.
        """
        run.record.updated_at = now
        body = run.record.model_dump_json(indent=1).encode()
        try:
            run.etag = put_over(self._store, run.location, body, run.etag)
        except PreconditionFailed as error:
            raise RunConflictError(
                f"Another process is working on the run {run.record.run_key!r} of {run.record.pipeline}.",
                hint="Let it finish; 'mz-orchestration explain' with the run key tells how it stands.",
                retryable=True,
            ) from error

    def recent(self, pipeline: str, limit: int) -> list[PipelineRecord]:
        """The records written last, newest first, leaving out what is not readable; one listing, and one GET each."""
        found = self._store.list_objects(pipeline_folder(self._base, pipeline))
        found = [item for item in found if not item.key.rpartition("/")[2].startswith("_")]
        found.sort(key=lambda item: (item.last_modified is not None, item.last_modified), reverse=True)
        records: list[PipelineRecord] = []
        for item in found:
            if len(records) == limit:
                break
            try:
                records.append(self._read(Location(self._base.bucket, item.key, self._base.scheme)).record)
            except (VerificationError, NotFoundError):
                continue
        # A store's own moments are whole seconds.
        return sorted(records, key=lambda record: record.updated_at, reverse=True)

    def names(self) -> list[str]:
        """The pipelines that have records; one listing."""
        folder = self._base.child(f"{PIPELINES_FOLDER}/")
        keys = (item.key.removeprefix(folder.key) for item in self._store.list_objects(folder))
        return sorted({key.partition("/")[0] for key in keys})

    def with_key(self, run_key: str) -> list[PipelineRecord]:
        """The records of all pipelines that share a run key; one listing, and one GET each."""
        name = f"/{run_key_hash(run_key)}.json"
        found = self._store.list_objects(self._base.child(f"{PIPELINES_FOLDER}/"))
        keys = [item.key for item in found if item.key.endswith(name)]
        return [self._read(Location(self._base.bucket, key, self._base.scheme)).record for key in keys]

    def _read(self, location: Location) -> StoredPipeline:
        body, etag = self._store.get(location)
        try:
            return StoredPipeline(PipelineRecord.model_validate_json(body), location, etag)
        except ValidationError as error:
            raise VerificationError(
                f"{location} is not the record of a pipeline run: {describe_validation(error)}",
                hint="Move that object away, or use a different --run-key.",
            ) from error
