"""What Census answers, as typed models that outlive small changes of its API.

Fields that are missing or of another kind than expected are None: what cannot be read must not end a wait. What a
status means is `judge`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

_datetime = TypeAdapter(datetime)


def _id(value: Any) -> Any:
    """V1 counts; some ids of V2 are strings."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _count(value: Any) -> int | None:
    # Larger ones are no counts, and cannot be divided.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _moment(value: Any) -> datetime | None:
    try:
        moment = _datetime.validate_python(value)
    except (ValidationError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    # Halves of surrogate pairs can neither be printed nor written down.
    return str(value).encode(errors="replace").decode()


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _cancelled(value: Any) -> bool | None:
    """Whatever it is if it is neither of both: somebody has said something about a cancel."""
    return value if isinstance(value, bool) or value is None else True


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str | None, str | None]:
    return {_text(name): _text(text) for name, text in _object(value).items()}


# They become parts of addresses and names of objects.
Id = Annotated[str, BeforeValidator(_id), Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Count = Annotated[int | None, BeforeValidator(_count)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Text = Annotated[str | None, BeforeValidator(_text)]
Flag = Annotated[bool | None, BeforeValidator(_flag)]
Cancelled = Annotated[bool | None, BeforeValidator(_cancelled)]
Object = Annotated[dict[str, Any], BeforeValidator(_object)]
Texts = Annotated[dict[str, str | None], BeforeValidator(_texts)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class SyncRun(_Model):
    """One run of a sync.

    Attributes:
        status: queued, working, completed, failed, skipped, or one that is not known yet.
        canceled: Somebody cancelled it; stands beside any status.
        source_record_invalids: Records of the source that Census did not send. V1 called it ``records_invalid``.
        records_processed: Records it tried to send.
        records_failed: Records the destination rejected.
        full_sync: Whether all records were to be sent.
        current_step: What it is busy with.
        sync_trigger_reason: What started it, in words for people.
    """

    id: Id
    sync_id: Id | None = None
    status: str
    canceled: Cancelled = None
    created_at: Moment = None
    updated_at: Moment = None
    completed_at: Moment = None
    scheduled_execution_time: Moment = None
    source_record_count: Count = None
    source_record_updates: Count = None
    source_record_deletes: Count = None
    source_record_invalids: Count = None
    records_processed: Count = None
    records_updated: Count = None
    records_failed: Count = None
    error_code: Text = None
    error_message: Text = None
    error_detail: Text = None
    full_sync: Flag = None
    current_step: Text = None
    sync_trigger_reason: Texts = {}

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("source_record_invalids") is None and "records_invalid" in data:
            return {**data, "source_record_invalids": data["records_invalid"]}
        return data


class Sync(_Model):
    """A sync as it is set up."""

    id: Id
    label: Text = Field(default=None, validation_alias=AliasChoices("label", "name"))
    operation: Text = None
    paused: Flag = None
    schedule_frequency: Text = None
    trigger_on_dbt_cloud_rebuild: Flag = None
    mode: Object = {}
    source_attributes: Object = {}
    destination_attributes: Object = {}

    @property
    def name(self) -> str:
        """Its label, or what stands for one."""
        return self.label or f"sync {self.id}"

    @property
    def schedule(self) -> str | None:
        """How often Census runs it by itself; None if it does not."""
        nested = _object(_object(self.mode.get("triggers")).get("schedule"))
        frequency = self.schedule_frequency or _text(nested.get("frequency"))
        return frequency if frequency not in (None, "never", "manual") else None

    @property
    def other_triggers(self) -> tuple[str, ...]:
        """What starts it besides its schedule and us: dbt_cloud, fivetran, sync_sequence."""
        triggers = _object(self.mode.get("triggers"))
        found = {str(name) for name, settings in triggers.items() if name != "schedule" and settings}
        if self.trigger_on_dbt_cloud_rebuild:
            found.add("dbt_cloud")
        return tuple(sorted(found))

    @property
    def source_object(self) -> str:
        """What it reads."""
        read = _object(self.source_attributes.get("object"))
        table = [read.get(f"table_{part}") for part in ("catalog", "schema", "name")]
        if read.get("table_name"):
            return ".".join(str(part) for part in table if part)
        return str(read.get("name") or " ".join(str(read[key]) for key in ("type", "id") if read.get(key)))

    @property
    def destination_object(self) -> str:
        """What it writes."""
        return str(self.destination_attributes.get("object") or "")


class Source(_Model):
    """A connection that syncs read from."""

    id: Id
    name: Text = Field(default=None, validation_alias=AliasChoices("label", "name"))
    type: Text = None


Item = TypeVar("Item", bound=_Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A part of a list.

    Attributes:
        items: In the order asked for.
        next_page: Number of the page that follows; None on the last.
        total: Items on all pages, where Census says so.
    """

    items: tuple[Item, ...]
    next_page: int | None
    total: int | None = None
