"""What is written down about a run of a pipeline: how each of its nodes stands.

The truth about an export, a load or a sync is in its own record; this one is a map to them: what has been done, what is
left, and why. It lies below the pipeline's folder, ``<to>/.pipelines/<name>/<hash of the run key>.json``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import run_key_hash

PIPELINES_FOLDER = ".pipelines"


class NodeState(StrEnum):
    """How far a node got."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"  # something it needs has not succeeded
    INTERRUPTED = "interrupted"  # ended together with its process, or with the run


class PipelineState(StrEnum):
    """How a run stands."""

    RUNNING = "running"  # or its process was killed: the lease tells
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class NodeEntry(BaseModel):
    """One node of a run.

    Attributes:
        name: The node's.
        kind: ``export``, ``group``, ``check``, ``load``, ``sync`` or ``retention``.
        run_key: Names the node's own logical run, under which its own record is found.
        fingerprint: Hash of what it was to do.
        repeated: It had been done before; nothing was done now.
        line: What came of it, in one line for people.
        result: The same in small values.
        error: `MzOrchestrationError.to_dict` of what ended it.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: str
    needs: tuple[str, ...] = ()
    run_key: str
    fingerprint: str = ""
    state: NodeState = NodeState.PENDING
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    repeated: bool = False
    line: str = ""
    result: dict[str, Any] = {}
    error: dict[str, Any] | None = None


class PipelineRecord(BaseModel):
    """One run of a pipeline.

    Attributes:
        pipeline: Its name.
        run_key: Names the logical run: the same one again does what is left.
        at: Folder that the pipeline's records lie below.
        file: The pipeline file as its path was given; empty where the pipeline was made in Python.
        only: The parts that were asked for, where not all were.
        owner: Which process works on it: host, process id, chance.
        nodes: In the order of the plan.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    pipeline: str
    run_key: str
    at: str
    file: str = ""
    only: tuple[str, ...] = ()
    state: PipelineState = PipelineState.RUNNING
    owner: str = ""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    nodes: list[NodeEntry] = []

    def entry(self, name: str) -> NodeEntry | None:
        """The entry of a node."""
        return next((node for node in self.nodes if node.name == name), None)

    @property
    def failed(self) -> list[NodeEntry]:
        """The nodes that ended with an error of their own."""
        return [node for node in self.nodes if node.state is NodeState.FAILED]


def pipeline_folder(base: Location, pipeline: str) -> Location:
    """Where the records of a pipeline's runs lie."""
    return base.child(f"{PIPELINES_FOLDER}/{pipeline}/")


def pipeline_record_location(base: Location, pipeline: str, run_key: str) -> Location:
    """Where the record of a run lies."""
    return pipeline_folder(base, pipeline).child(f"{run_key_hash(run_key)}.json")


def node_run_key(pipeline: str, run_key: str, item: str) -> str:
    """The run key of one part's own run: an export's, a group's, a sync's; the part is what follows the last slash."""
    part = item.replace("%", "%25").replace("/", "%2F")
    return f"{pipeline}/{run_key}/{part}"
