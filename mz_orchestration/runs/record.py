"""What is written down about a run, so that any later process can go on from it.

A run is named by its *run key*. Asking for the same run again returns what it has produced, adopts what an earlier
process left behind, or starts the next attempt; it never produces the same thing twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

# They become names of tables and parts of addresses.
_LOAD, _QUERY = r"^([0-9A-F]{12})?$", r"^[A-Za-z0-9-]{1,64}$"


class AttemptState(StrEnum):
    """How far an attempt got."""

    STARTED = "started"  # written down before the COPY begins
    COPIED = "copied"  # Materialize answered COPY n
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"  # its process went away and nothing of use was left


class Attempt(BaseModel):
    """One attempt in a path of its own.

    Attributes:
        number: Counts from 1.
        path: The attempt's folder.
        pid: Backend of the session that runs the COPY.
        session: Id of that session; a backend's id comes round again when the server restarts, this one does not.
        environment: Id of the Materialize it belongs to.
        tag: Name of that session's application, by which people find it in Materialize.
        deadline_at: When the COPY will be cancelled.
        columns: The columns as they were described for this attempt, with casts; what they mean is the exports'
            business.
        cluster: Cluster the COPY runs on.
        server: Materialize's version.
        timestamp: Logical timestamp the export reads at, in milliseconds since 1970.
        counted: Rows that a count at that timestamp found, where one was asked for.
        copied: Rows by Materialize's answer, once it came.
        copied_at: When it came.
        error: `MzOrchestrationError.to_dict` of what ended it.
    """

    model_config = ConfigDict(extra="forbid")

    number: int
    path: str
    state: AttemptState
    pid: int
    session: str = ""
    environment: str = ""
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    tag: str = ""
    deadline_at: AwareDatetime | None = None
    columns: list[dict[str, Any]] = []
    cluster: str = ""
    server: str = ""
    timestamp: int | None = None
    counted: int | None = None
    copied: int | None = None
    copied_at: AwareDatetime | None = None
    error: dict[str, Any] | None = None

    @property
    def open(self) -> bool:
        """Whether nobody has written down yet how it ended."""
        return self.state in (AttemptState.STARTED, AttemptState.COPIED)


class LoadState(StrEnum):
    """How far a load got."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class LoadEntry(BaseModel):
    """One load of the run's manifest into one target.

    Attributes:
        target: Qualified name of the table.
        stage: Qualified name of the stage.
        load: Id of the load; names its staging table and its transaction. Empty in records of earlier versions.
        spec: Choices of `LoadSpec` that are not the default, for whoever asks for the load again.
        shape: What a staging table has to agree in for another process to go on with it.
        staging: Table that the files were copied into; empty where they went into the target itself.
        leftovers: Loads whose staging tables may still exist.
        deadline_at: When the statement that was begun last will be aborted.
        rows: Rows loaded.
        query_ids: Snowflake's ids of the COPY INTO statements.
        publish_ids: Snowflake's ids of the statements that change the target.
    """

    model_config = ConfigDict(extra="forbid")

    target: str
    stage: str
    state: LoadState
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    load: str = Field(default="", pattern=_LOAD)
    spec: dict[str, Any] = {}
    shape: str = ""
    staging: str = ""
    leftovers: list[Annotated[str, Field(pattern=_LOAD)]] = []
    deadline_at: AwareDatetime | None = None
    rows: int | None = None
    query_ids: list[Annotated[str, Field(pattern=_QUERY)]] = []
    publish_ids: list[Annotated[str, Field(pattern=_QUERY)]] = []
    error: dict[str, Any] | None = None


class GroupEntry(BaseModel):
    """The group of exports of one timestamp that a run belongs to.

    Attributes:
        run_key: The group's.
        objects: All that are exported together.
        casts: The casts of each object, by the object's name.
        mode: ``held`` or ``transaction``.
        max_parallel: How many at a time on each cluster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_key: str
    objects: tuple[str, ...]
    casts: dict[str, dict[str, str]] = {}
    mode: str = "held"
    max_parallel: int = 4


class RunRecord(BaseModel):
    """One logical run of one export.

    Attributes:
        policy: Choices of `ExportPolicy` that are not the default, for whoever asks for the run again.
        group: Set where several exports share a timestamp; they are asked for again together.
        manifest: The manifest as JSON once the export is verified; what it means is the exports' business.
        loads: By qualified name of the target.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    run_key: str
    export: str
    object: str
    spec_fingerprint: str
    spec: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime
    attempts: list[Attempt] = []
    policy: dict[str, Any] = {}
    group: GroupEntry | None = None
    manifest: dict[str, Any] | None = None
    loads: dict[str, LoadEntry] = {}

    @property
    def state(self) -> str:
        """``running``, ``exported``, ``loaded`` or ``failed``: the furthest thing that is true of the run."""
        states = {load.state for load in self.loads.values()}
        if LoadState.FAILED in states:
            return "failed"
        if self.manifest is not None:
            if LoadState.STARTED in states:
                return "running"
            return "loaded" if states else "exported"
        if not self.attempts or self.attempts[-1].open:
            return "running"
        return "failed"

    @property
    def error(self) -> dict[str, Any] | None:
        """Why the run is red, if it is."""
        if self.state != "failed":
            return None
        for load in self.loads.values():
            if load.state is LoadState.FAILED:
                return load.error
        return self.attempts[-1].error if self.attempts else None
