"""What one look says of sinks and sources: rows of Materialize's catalog, put together by connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["sink", "source"]


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A line of the status history.

    Attributes:
        at: When it was, by Materialize's clock.
        status: As it was written.
        replica: Id of the replica; None where none was concerned.
        error: Such as ``kafka: …``.
        hints: What Materialize suggests.
    """

    at: datetime
    status: str
    replica: str | None = None
    error: str | None = None
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    """What one replica has counted since it began; Materialize promises neither exactness nor freshness.

    Attributes:
        staged: Messages or updates written, committed or not.
        committed: Those that others can see.
        staged_bytes: Bytes written; None for sources.
        committed_bytes: Bytes that others can see; None for sources.
    """

    staged: int
    committed: int
    staged_bytes: int | None = None
    committed_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica of the connector's cluster.

    Attributes:
        id: Its id.
        name: Such as ``r1``.
        online: False if one of its processes is not; None if nobody says.
        reason: Why it is not, such as ``oom-killed``.
        changed: When that was last different.
        hydrated: Whether the connector has read its snapshot there; None if nobody says.
    """

    id: str
    name: str
    online: bool | None = None
    reason: str | None = None
    changed: datetime | None = None
    hydrated: bool | None = None


@dataclass(frozen=True, slots=True)
class ConnectorFacts:
    """All that one look says of a sink or a source.

    Attributes:
        id: Its id in the catalog.
        name: As in SQL; without the database where that is the session's own.
        kind: ``sink`` or ``source``.
        type: Such as ``kafka`` or ``iceberg``.
        cluster: Where it runs.
        status: As Materialize has it: the best of its replicas'.
        since: When that last changed; None before the first event.
        error: Of the event that decided the status.
        hints: Of the same.
        events: Those of late, and the newest of each replica, newest first.
        counters: By id of the replica; empty until the first report.
        replicas: Those of its cluster.
        position: How far it has come: a sink's write frontier, a source's committed offset.
        input_position: How far what it reads has come.
        input: Name of what it reads that is furthest behind, where that is known.
        lag: Seconds it is behind what it reads, by Materialize's account; None where that is not known.
        commit_interval: Seconds between commits, of sinks that have such a setting.
    """

    id: str
    name: str
    kind: Kind = "sink"
    type: str = ""
    cluster: str | None = None
    status: str = "created"
    since: datetime | None = None
    error: str | None = None
    hints: tuple[str, ...] = ()
    events: tuple[StatusEvent, ...] = ()
    counters: Mapping[str, Counters] = field(default_factory=dict)
    replicas: tuple[Replica, ...] = ()
    position: int | None = None
    input_position: int | None = None
    input: str | None = None
    lag: float | None = None
    commit_interval: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was there at one moment.

    Attributes:
        at: By Materialize's clock, with which all other times are compared.
        connectors: By id.
    """

    at: datetime
    connectors: Mapping[str, ConnectorFacts]
