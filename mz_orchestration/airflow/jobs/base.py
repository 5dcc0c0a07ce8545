"""A job: what an operator or a trigger carries out, in the same code wherever it runs.

A job holds names of connections, never what they contain, so it can travel from the worker to the triggerer through
Airflow's database.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.airflow.lineage import Lineage
    from mz_orchestration.errors import MzOrchestrationError
    from mz_orchestration.progress import Event

Links = dict[str, str]


@dataclass(frozen=True)
class Listener:
    """Whom a job tells, from a thread of its own, while it works.

    :param on_event: told of every step.
    :param on_links: told of addresses a person can look at, by the name of their link's class.
    """

    on_event: Callable[[Event], None]
    on_links: Callable[[Links], None] = lambda links: None


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    :param result: small values for XCom.
    :param extra: small values for asset events.
    :param links: addresses a person can look at, by the name of their link's class.
    :param lineage: ``inputs`` and ``outputs`` in OpenLineage's names.
    """

    result: dict[str, Any]
    extra: dict[str, Any]
    links: Links = field(default_factory=dict)
    lineage: Lineage = field(default_factory=dict)

    def to_event(self) -> dict[str, Any]:
        """Return it as a trigger's event carries it."""
        return {"status": "success", **dataclasses.asdict(self)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self | None:
        """Return what a trigger's event carries; None if that is no outcome."""
        known = [each.name for each in dataclasses.fields(cls)]
        found = {name: event[name] for name in known if isinstance(event.get(name), dict)}
        return cls(**found) if event.get("status") == "success" and {"result", "extra"} <= set(found) else None


class Job(ABC):
    """Something that may run for hours elsewhere, and is found again under its run key."""

    kind: ClassVar[str]

    # Whether another process that carries out the same job finds what this one has begun.
    found_again: bool = True

    @abstractmethod
    def connections(self) -> Mapping[str, str | None]:
        """Ids of the Airflow connections it needs, by system: ``materialize``, ``aws``, ``snowflake``, ``census``."""

    @abstractmethod
    def check(self) -> None:
        """Find mistakes before anything is started.

        :raises ConfigurationError: an argument is wrong; field and value are named.
        """

    @abstractmethod
    def seconds(self) -> float:
        """How long it may take by its own deadlines, in seconds."""

    @abstractmethod
    async def carry_out(self, systems: Systems, listener: Listener) -> Outcome:
        """Carry it out, or go on with what another process has begun; cancelled, it cancels what it runs.

        :raises MzOrchestrationError: its class and ``retryable`` say what to do.
        """

    @abstractmethod
    def cancel(self, systems: Systems, listener: Listener) -> list[str]:
        """Cancel what any process runs of it, by the records; repeatable, and quick where nothing runs.

        :return: what was stopped, by name.
        """

    def resumed(self, systems: Systems, since: datetime) -> Self:
        """
        Return the job for whoever takes it up within the same try: what it has begun it waits for, whatever is to
        become of what earlier tries have left behind.

        :param systems: where its records are.
        :param since: when the try was handed over.
        """
        return self

    def links(self, systems: Systems) -> Links:
        """Addresses that are known before it begins, by the name of their link's class."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """The job as JSON has it."""
        return {"kind": self.kind, **dataclasses.asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The job of :meth:`to_dict`; fields that a newer or older version wrote are left out."""
        known = {each.name for each in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in fields.items() if name in known})


def job_from_dict(data: Mapping[str, Any]) -> Job:
    """A job as it was before it travelled.

    :raises ConfigurationError: it is of no known kind.
    """
    from mz_orchestration.airflow.jobs.export import ExportJob
    from mz_orchestration.airflow.jobs.load import LoadJob
    from mz_orchestration.airflow.jobs.node import NodeJob
    from mz_orchestration.airflow.jobs.sync import SyncJob
    from mz_orchestration.airflow.jobs.transfer import TransferJob
    from mz_orchestration.errors import ConfigurationError

    kinds: dict[str, type[Job]] = {job.kind: job for job in (ExportJob, LoadJob, TransferJob, SyncJob, NodeJob)}
    job = kinds.get(str(data.get("kind")))
    if job is None:
        raise ConfigurationError(
            f"A job of kind {data.get('kind')!r} is not known here.",
            hint="Workers and triggerers must run the same version of mz-orchestration.",
        )
    return job.from_fields(data)


def failure_of(error: MzOrchestrationError) -> dict[str, Any]:
    """An error as an event carries it."""
    return {"status": "failed", "error": error.to_dict()}
