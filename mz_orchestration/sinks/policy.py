"""How long what may last before it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.validation import describe_validation

Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]


class HealthPolicy(BaseModel):
    """How long what may last before it counts; all in seconds.

    Materialize publishes statistics every 60 s, so whatever rests on them needs some of these periods.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    starting_after: Seconds = Field(
        default=300.0, description="'starting' for longer is too long: the guide says a few minutes."
    )
    hydrating_after: Seconds = Field(
        default=3600.0, description="Reading the snapshot without any progress for longer is too long."
    )
    commit_after: Seconds = Field(
        default=180.0,
        description="Staging for longer, without any commit, is not committing. The commit interval comes on top.",
    )
    stuck_after: Seconds = Field(
        default=180.0,
        description="Standing still for longer, while what it reads goes on, is not moving. The commit interval comes "
        "on top.",
    )
    offline_after: Seconds = Field(
        default=60.0, description="A replica that is down for longer counts as down, and not as one that restarts."
    )
    idle_after: Seconds = Field(
        default=300.0, description="Without a commit for longer, a connector that keeps up is idle."
    )
    flap_window: Seconds = Field(default=600.0, description="How far back errors are counted.")
    flap_count: int = Field(default=3, ge=2, le=20, description="So many errors in that time are flapping.")
    flap_settle: Seconds = Field(
        default=120.0, description="Running for longer, and for longer than it used to, ends that."
    )


def health_policy(values: Mapping[str, Any] | None) -> HealthPolicy:
    """The policy with some of its fields as somebody has given them.

    Args:
        values: By name of the field; None for none.

    Raises:
        ConfigurationError: There is no such field, or its value is out of range.
    """
    try:
        return HealthPolicy.model_validate({} if values is None else values)
    except ValidationError as error:
        fields = ", ".join(HealthPolicy.model_fields)
        raise ConfigurationError(f"policy: {describe_validation(error)}", hint=f"Its fields are {fields}.") from None
