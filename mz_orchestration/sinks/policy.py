"""How long what may last before it counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]


class HealthPolicy(BaseModel):
    """How long what may last before it counts; all in seconds.

    Materialize publishes statistics every 60 s, so whatever rests on them needs some of these periods.

    Attributes:
        starting_after: ``starting`` for longer is too long: the guide says a few minutes.
        hydrating_after: Reading the snapshot without any progress for longer is too long.
        commit_after: Staging for longer, without any commit, is not committing. The commit interval comes on top.
        stuck_after: Standing still for longer, while what it reads goes on, is not moving. The commit interval comes
            on top.
        offline_after: A replica that is down for longer counts as down, and not as one that restarts.
        idle_after: Without a commit for longer, a connector that keeps up is idle.
        flap_window: How far back errors are counted.
        flap_count: So many errors in that time are flapping.
        flap_settle: Running for longer, and for longer than it used to, ends that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    starting_after: Seconds = 300.0
    hydrating_after: Seconds = 3600.0
    commit_after: Seconds = 180.0
    stuck_after: Seconds = 180.0
    offline_after: Seconds = 60.0
    idle_after: Seconds = 300.0
    flap_window: Seconds = 600.0
    flap_count: int = Field(default=3, ge=2, le=20)
    flap_settle: Seconds = 120.0
