"""What to sync: the validated description shared by the command line, pipelines, Airflow and Dagster."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mz_orchestration.validation import validated


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# V1 counts its syncs; V2 makes some of its ids strings. What begins with a hyphen is an option on a command line.
SyncId = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$")]
Count = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SyncSpec(BaseModel):
    """One run of a Census sync.

    Attributes:
        sync: Id of the sync, the number in its address.
        on_overlap: While another run of the sync is active: wait for it and then trigger, since it may have read the
            source before what is there now; attach to it; or fail.
        on_cancelled: Of a run that somebody cancels in Census: fail, or accept it as the end.
        full: Send all records, not only what changed. Syncs of type append refuse it.
        max_failed: Records the destination may reject. Zero unless ``max_failed_ratio`` is given; where both are,
            neither may be exceeded.
        max_failed_ratio: Rejected records by records processed, 0 to 1.
        max_invalid: Records of the source that Census may find invalid; as ``max_failed``.
        max_invalid_ratio: Invalid records by records of the source, 0 to 1.
        timeout: Seconds the run may take, with the wait for another; then ours is cancelled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sync: SyncId
    on_overlap: Literal["wait", "attach", "fail"] = "wait"
    on_cancelled: Literal["fail", "accept"] = "fail"
    full: bool = False
    max_failed: Count | None = None
    max_failed_ratio: Ratio | None = None
    max_invalid: Count | None = None
    max_invalid_ratio: Ratio | None = None
    timeout: float = Field(default=6 * 3600, gt=0, le=30 * 24 * 3600, allow_inf_nan=False)

    @property
    def failed_limit(self) -> int | None:
        """Rejected records that are accepted; None where only their ratio counts."""
        return 0 if self.max_failed is None and self.max_failed_ratio is None else self.max_failed

    @property
    def invalid_limit(self) -> int | None:
        """Invalid records that are accepted; None where only their ratio counts."""
        return 0 if self.max_invalid is None and self.max_invalid_ratio is None else self.max_invalid

    def fingerprint(self) -> str:
        """A hash of what is asked of Census: which sync, and whether all records; the rest only judges the answer."""
        data = self.model_dump(mode="json", include={"sync", "full"})
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def sync_spec(**fields: Any) -> SyncSpec:
    """A `SyncSpec` whose refusals are `ConfigurationError`, naming field, value and reason.

    Raises:
        ConfigurationError: A field is missing, unknown or wrong.
    """
    return validated(SyncSpec, **fields)
