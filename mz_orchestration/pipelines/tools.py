"""What the parts of a pipeline work with, and whom they tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mz_orchestration.flow import Clock
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.pipelines.record import NodeEntry
from mz_orchestration.progress import OnEvent, ignore

if TYPE_CHECKING:
    from mz_orchestration.census.config import CensusConfig
    from mz_orchestration.materialize.connection import MaterializeConfig
    from mz_orchestration.snowflake.config import SnowflakeConfig


@dataclass(frozen=True)
class Tools:
    """What a node works with; what is left out is found in the environment, where it is needed.

    Attributes:
        on_event: Told of every step of the node.
    """

    store: ObjectStore = field(default_factory=ObjectStore)
    materialize: MaterializeConfig | None = None
    snowflake: SnowflakeConfig | None = None
    census: CensusConfig | None = None
    clock: Clock = field(default_factory=Clock)
    on_event: OnEvent = ignore


@dataclass(frozen=True)
class NodeResult:
    """What came of a node.

    Attributes:
        line: In one line for people.
        metadata: In small values for XCom and asset events.
        repeated: It had been done before; nothing was done now.
    """

    line: str
    metadata: dict[str, int | float | str]
    repeated: bool = False


# Told of every node that changes its state; called from the event loop's thread.
OnNode = Callable[[NodeEntry], None]
