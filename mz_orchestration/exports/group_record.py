"""What is written down about a group of exports that share a logical timestamp."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from mz_orchestration.errors import NotFoundError, RunConflictError, VerificationError
from mz_orchestration.exports.context import ExportContext
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.materialize.session import SessionIdentity
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import run_key_hash
from mz_orchestration.runs.store import RunStore, put_over
from mz_orchestration.validation import describe_validation

GROUPS_FOLDER = ".groups"


class GroupRecord(BaseModel):
    """What is written down about a group, outside of every export's folder.

    Attributes:
        run_key: Names the logical run of the whole group.
        fingerprint: Hash of all that decides which rows and files come out.
        generation: Counts the starts, from 1; each has a timestamp of its own.
        salt: Chance, so that no other start of the same run key can be taken for this one.
        timestamp: Logical timestamp of this generation, in milliseconds since 1970.
        server: Materialize's version.
        session: Id of the session that holds the timestamp; whoever works on the group has it open.
        environment: Id of the Materialize it belongs to.
        manifests: URL of each export's manifest by folder name; filled once all are verified.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    run_key: str
    fingerprint: str
    generation: int
    salt: str = ""
    timestamp: int | None = None
    server: str = ""
    session: str = ""
    environment: str = ""
    manifests: dict[str, str] = {}
    updated_at: AwareDatetime

    def member_key(self) -> str:
        """The run key of this generation's exports."""
        return f"{self.run_key}#{self.generation}-{self.salt}"


def find_group(store: ObjectStore, base: Location, run_key: str) -> GroupRecord | None:
    """The record of a group, or None if there is none of that run key."""
    try:
        body, _ = store.get(group_location(base, run_key))
    except NotFoundError as error:
        if error.details.get("code") == "NoSuchBucket":
            raise
        return None
    return _parse(body, group_location(base, run_key))


def group_location(base: Location, run_key: str) -> Location:
    """Where the record of a group lies."""
    return base.child(f"{GROUPS_FOLDER}/{run_key_hash(run_key)}.json")


def _parse(body: bytes, at: Location) -> GroupRecord:
    try:
        return GroupRecord.model_validate_json(body)
    except ValidationError as error:
        raise VerificationError(
            f"{at} is not the record of a group: {describe_validation(error)}",
            hint="Move that object away, or use another run key.",
        ) from error


class Group:
    """The group's record, and where it lies."""

    def __init__(self, store: ObjectStore, specs: Sequence[ExportSpec], run_key: str, context: ExportContext) -> None:
        self.specs = specs
        self.runs = RunStore(store, specs[0].base)
        self.location = group_location(specs[0].base, run_key)
        self.etag: str | None = None
        self.record = GroupRecord(
            run_key=run_key, fingerprint=_fingerprint(specs), generation=0, updated_at=context.clock.now()
        )
        self._store = store
        self._clock = context.clock

    def read(self) -> None:
        """Take over what an earlier call wrote down."""
        try:
            body, self.etag = self._store.get(self.location)
        except NotFoundError as error:
            if error.details.get("code") == "NoSuchBucket":
                raise
            return
        found = _parse(body, self.location)
        if found.fingerprint != self.record.fingerprint and found.timestamp is None:
            # No export of it has ever begun, for an object that does not exist, say: it may be corrected.
            found.fingerprint = self.record.fingerprint
        if found.fingerprint != self.record.fingerprint:
            raise RunConflictError(
                f"The run key {found.run_key!r} was used for a group of other exports.",
                hint="Use another run key, or the arguments of the first run.",
            )
        self.record = found

    def save(self) -> None:
        """Write it over the version that was read."""
        self.record.updated_at = self._clock.now()
        body = self.record.model_dump_json(indent=1).encode()
        try:
            self.etag = put_over(self._store, self.location, body, self.etag)
        except PreconditionFailed as error:
            raise RunConflictError(
                f"Another process is working on the run {self.record.run_key!r} of this group.",
                hint="Let it finish, then run the same command again.",
                retryable=True,
            ) from error

    @property
    def holder(self) -> SessionIdentity | None:
        """The session that holds the timestamp as long as somebody works on this generation."""
        if not self.record.session:
            return None
        return SessionIdentity(self.record.session, self.record.environment)

    def can_be_finished(self) -> bool:
        """Whether every export of the present generation is finished or has a COPY that may yet turn out complete."""
        if self.record.generation == 0 or self.record.timestamp is None:
            return False
        for spec in self.specs:
            stored = self.runs.find(spec.folder_name, self.record.member_key())
            if stored is None or not (stored.record.manifest or stored.record.attempts[-1].open):
                return False
        return True


def _fingerprint(specs: Sequence[ExportSpec]) -> str:
    return hashlib.sha256(json.dumps(sorted(spec.fingerprint() for spec in specs)).encode()).hexdigest()
