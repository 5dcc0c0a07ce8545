"""What an export works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.progress import Progress

if TYPE_CHECKING:
    # Reading a pipeline file, as DAG files do over and over, must not cost an import of psycopg.
    from mz_orchestration.materialize.session import Reading, Session, SessionIdentity
    from mz_orchestration.objectstore.client import ObjectStore
    from mz_orchestration.runs.record import GroupEntry


class ExportStep(StrEnum):
    """The steps of an export, in order; a process may die before or after each."""

    PLAN = "plan"
    RECORD = "record"
    COPY = "copy"
    SENTINEL = "sentinel"
    VERIFY = "verify"
    MANIFEST = "manifest"
    FINISH = "finish"


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
