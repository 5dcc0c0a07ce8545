"""One run of a pipeline at a time: a lease that its owner keeps alive by writing it again and again.

Whoever waits for a lease judges by its own clock whether it still changes, so no two clocks are ever compared. A lease
that has not changed for `EXPIRES` seconds is taken over by conditional put; an owner that was only asleep learns of it
at its next beat. On the machine it was taken on, the process itself is looked for; a killed one is not waited for.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from mz_orchestration.errors import AlreadyRunningError, DeadlineError, NotFoundError, RunConflictError
from mz_orchestration.flow import Clock, Flow, call, sleep
from mz_orchestration.objectstore.client import ObjectStore, PreconditionFailed
from mz_orchestration.objectstore.location import Location
from mz_orchestration.pipelines.record import pipeline_folder
from mz_orchestration.runs.store import put_over

# Seconds between two beats, and without one until others may take the lease.
BEAT = 15.0
EXPIRES = 60.0
# Seconds that somebody waits for another run to end.
PATIENCE = 24 * 3600.0
_LOOK_EVERY = 2.0

IfRunning = Literal["fail", "wait", "skip"]


class Lease(BaseModel):
    """Who runs a pipeline.

    Attributes:
        run_key: Which run of it.
        owner: Chance that tells one owner from another.
        host: Name of the owner's machine, for people.
        process: The owner's process id there.
        machine: What tells whether a process of that id can be looked for from here.
        began: What tells the process from a later one of the same id.
        taken_at: By the owner's clock, for people.
        beat: Counts up as long as the owner lives.
        released: The owner is done.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    run_key: str
    owner: str
    host: str
    process: int
    machine: str = ""
    began: str = ""
    taken_at: AwareDatetime
    beat: int = 0
    released: bool = False

    @property
    def who(self) -> str:
        """The owner for people."""
        return f"process {self.process} on {self.host}"


def lease_location(base: Location, pipeline: str) -> Location:
    """Where the lease of a pipeline lies."""
    return pipeline_folder(base, pipeline).child("_lease.json")


def read_lease(store: ObjectStore, at: Location) -> tuple[Lease | None, str | None]:
    """The lease and its version; no lease where nothing of ours lies there."""
    try:
        body, etag = store.get(at)
    except NotFoundError as error:
        if error.details.get("code") == "NoSuchBucket":
            raise
        return None, None
    try:
        return Lease.model_validate_json(body), etag
    except ValidationError:
        return None, etag


def surely_gone(lease: Lease) -> bool:
    """Whether the owner has released it, or was a process of this machine that is no more."""
    if lease.released:
        return True
    if not lease.machine or lease.machine != _machine():
        return False
    began = _began(lease.process)
    if began:
        return began != lease.began
    try:
        os.kill(lease.process, 0)
    except PermissionError:
        # Another user's, which /proc may hide.
        return False
    except ProcessLookupError:
        return True
    return True


def _is_here(lease: Lease) -> bool:
    """Whether the owner is another process of this machine that lives; elsewhere, only a beat shows that it does."""
    return lease.machine == _machine() and lease.process != os.getpid() and not surely_gone(lease)


class HeldLease:
    """A lease of ours.

    Args:
        store: Where it lies.
        at: Its place there.
        lease: What was written.
        etag: The version written.
    """

    def __init__(self, store: ObjectStore, at: Location, lease: Lease, etag: str) -> None:
        self._store, self._at, self._lease, self._etag = store, at, lease, etag

    @property
    def lease(self) -> Lease:
        """What was written last."""
        return self._lease

    def beat(self) -> None:
        """Show that we live.

        Raises:
            RunConflictError: Somebody has taken the lease.
        """
        self._write(self._lease.model_copy(update={"beat": self._lease.beat + 1}))

    def release(self) -> None:
        """Let the next one have it; no harm is done if it was taken already."""
        with suppress(RunConflictError):
            self._write(self._lease.model_copy(update={"released": True}))

    def _write(self, lease: Lease) -> None:
        try:
            self._etag = put_over(self._store, self._at, _body(lease), self._etag)
        except PreconditionFailed as error:
            raise RunConflictError(
                f"Another process has taken over the pipeline from {self._lease.who}.",
                hint="It went on because this one showed no sign of life for a while. Let it finish.",
                retryable=True,
            ) from error
        self._lease = lease


def take_lease(
    store: ObjectStore,
    base: Location,
    pipeline: str,
    run_key: str,
    if_running: IfRunning,
    clock: Clock,
    say: Callable[[str], None],
) -> Flow[HeldLease]:
    """Take a pipeline's lease once nobody has it; two requests where it is free.

    Args:
        store: Where it lies.
        base: The folder of the pipeline's records.
        pipeline: The pipeline.
        run_key: The run that is to have it.
        if_running: What to do while somebody else has it.
        clock: The time to live in.
        say: Told once whom it waits for.

    Raises:
        AlreadyRunningError: Somebody has it, and shows signs of life or may yet, and the policy is not to wait.
        DeadlineError: They did not let go of it in time.
    """
    at = lease_location(base, pipeline)
    patience = clock.monotonic() + PATIENCE
    seen: str | None = None
    named = ""
    changed = clock.monotonic()
    while True:
        lease, etag = yield from call(read_lease, store, at)
        now = clock.monotonic()
        alive = seen is not None and etag != seen
        if etag != seen:
            seen, changed = etag, now
        if lease is None or surely_gone(lease) or now - changed >= EXPIRES:
            mine = _new(run_key, clock)
            with suppress(PreconditionFailed):
                written = yield from call(put_over, store, at, _body(mine), etag)
                return HeldLease(store, at, mine, written)
            continue
        since = f"{lease.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        text = f"The run {lease.run_key!r} of {pipeline} is in progress: {lease.who}, since {since}."
        if if_running != "wait" and (alive or _is_here(lease)):
            raise AlreadyRunningError(text, hint="Let it finish, or stop that process.")
        if now >= patience:
            raise DeadlineError(f"{text} It did not end within {PATIENCE / 3600:g} hours.", hint="Stop that process.")
        if named != lease.owner:
            named = lease.owner
            say(f"{text} Waiting until it ends, or shows no sign of life for {EXPIRES:g} seconds.")
        yield from sleep(_LOOK_EVERY)


def _new(run_key: str, clock: Clock) -> Lease:
    process = os.getpid()
    return Lease(
        run_key=run_key,
        owner=secrets.token_hex(8),
        host=socket.gethostname(),
        process=process,
        machine=_machine(),
        began=_began(process),
        taken_at=clock.now(),
    )


def _body(lease: Lease) -> bytes:
    return lease.model_dump_json(indent=1).encode()


def _machine() -> str:
    """What all processes have in common that see each other under the same ids; empty where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return ""
    return hashlib.sha256(f"{boot.strip()} {namespace}".encode()).hexdigest()[:16]


def _began(process: int) -> str:
    """When a process began, in ticks since the machine did; empty if there is none, or it is dead but for its entry."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # proc(5): the first field behind the name is the state, the start time is the twentieth.
    return "" if fields[0] in ("Z", "X") else fields[19]
