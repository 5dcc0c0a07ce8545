"""What an export works with, and how it is to behave where there is a choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from mz_orchestration.exports.verify import VerifyLevel
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.progress import Progress
from mz_orchestration.runs.record import GroupEntry

if TYPE_CHECKING:
    # Reading a pipeline file, as DAG files do over and over, must not cost an import of psycopg.
    from mz_orchestration.materialize.session import Reading, Session, SessionIdentity


class ExportStep(StrEnum):
    """The steps of an export, in order; a process may die before or after each."""

    PLAN = "plan"
    RECORD = "record"
    COPY = "copy"
    SENTINEL = "sentinel"
    VERIFY = "verify"
    MANIFEST = "manifest"
    FINISH = "finish"


class ExportPolicy(BaseModel):
    """How an export behaves where there is a choice; none of it changes which rows and files come out.

    Attributes:
        verify: How closely the files are looked at before the manifest is written.
        count: Count the rows at the export's own timestamp before the COPY, so that files can be told to be whole
            even if Materialize's answer is lost. Costs a second read of the object.
        statistics: Ask for NULLs, smallest and largest values and sums of every column in that same read, for loads
            to be compared with; it counts the rows too.
        if_running: What to do while another run of the same export is in progress: wait for it to end, or leave with
            `AlreadyRunningError`. None looks at this run's own earlier attempts only, and waits.
        left_behind: What to do with an earlier attempt of this run whose COPY still runs without its process: wait
            for it and take its files, cancel it, or leave it alone; the latter two start the next attempt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verify: VerifyLevel = VerifyLevel.FOOTERS
    count: bool = False
    statistics: bool = False
    if_running: Literal["wait", "skip", "fail"] | None = None
    left_behind: Literal["wait", "cancel", "leave"] = "wait"

    def for_own_attempt(self) -> ExportPolicy:
        """The same, for whoever takes up an attempt of the same call: that one is waited for."""
        # Other runs of the export are looked at only if they were to be.
        return self.model_copy(update={"left_behind": "wait", "if_running": "wait" if self.if_running else None})


@dataclass(frozen=True, slots=True)
class HeldRead:
    """A read that somebody holds open, for exports that must all see the same logical timestamp.

    Attributes:
        reading: What it reads.
        group: Whom it is held for.
        holder: The session that holds it; None once it has been let go of, when only attempts left behind can be
            finished and none may begin.
        in_transaction: Whether COPYs run in the holder's own transaction, or each in a session of its own that reads
            ``AS OF`` the timestamp.
        identity: By what the session that runs the COPY can be found, if it is the holder.
    """

    reading: Reading
    group: GroupEntry
    holder: Session | None = None
    in_transaction: bool = False
    identity: SessionIdentity | None = None


@dataclass(frozen=True, slots=True)
class ExportContext(Progress):
    """What an export works with.

    Attributes:
        open_session: Opens a session with Materialize on the export's cluster, under the name given; called only
            when one is needed, and again after one was lost.
        store: The object store the files land in.
        policy: How to behave where there is a choice.
    """

    open_session: Callable[[str], Session]
    store: ObjectStore
    policy: ExportPolicy = field(default_factory=ExportPolicy)
