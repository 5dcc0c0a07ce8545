"""What goes wrong on purpose in the Census stand-in, asked for over ``POST /local/faults`` while it runs.

What is set lies in rules, one for each scope (sync, method, path): asking again for the same scope adds to its rule.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

_LONGEST = 3600.0

Scope = tuple[str, str, str]


class InvalidFaultError(Exception):
    """The request for a fault cannot be understood; the text says why."""


class Failure(BaseModel):
    """How a run fails."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    message: str = "A failure somebody asked for."
    detail: str = ""


class Faults(BaseModel):
    """One rule; without arguments all is well.

    Attributes:
        sync: only this sync and its runs; empty for all.
        method: only requests with this method.
        path: only requests whose path contains this text.
        times: only so many answers, and so many runs, counted from when the rule was last set. Durations and delays of
            runs are not counted.
        status: answers have this status instead of their own.
        retry_after: the header of that answer: seconds or a date.
        after: the request is carried out before the answer fails or the connection is lost.
        reset: the connection is reset instead of an answer.
        truncated: the connection is closed in the middle of the answer.
        not_json: the answer is a page for people.
        delay: seconds between the work and its answer.
        failed_records: so many records of a run are rejected by the destination.
        failed_ratio: the same as a share of the records that are sent.
        invalid_records: so many records of the source are found invalid.
        invalid_ratio: the same as a share of the records of the source.
        fail_run: a run fails; a text is its code.
        cancel_run: somebody cancels a run while it works.
        run_status: statuses nobody knows, with the seconds a run shows them before it works.
        queued_seconds: how long runs wait.
        working_seconds: how long runs work, at least.
        poll_seconds: how often a continuous sync runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    sync: str = ""
    method: str = ""
    path: str = ""
    times: int | None = Field(default=None, ge=1)
    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: str = ""
    after: bool = False
    reset: bool = False
    truncated: bool = False
    not_json: bool = False
    delay: float = Field(default=0.0, ge=0, le=_LONGEST)
    failed_records: int | None = Field(default=None, ge=0)
    failed_ratio: float | None = Field(default=None, ge=0, le=1)
    invalid_records: int | None = Field(default=None, ge=0)
    invalid_ratio: float | None = Field(default=None, ge=0, le=1)
    fail_run: Failure | None = None
    cancel_run: bool = False
    run_status: dict[str, float] = {}
    queued_seconds: float | None = Field(default=None, ge=0, le=_LONGEST)
    working_seconds: float | None = Field(default=None, ge=0, le=_LONGEST)
    poll_seconds: float | None = Field(default=None, ge=0.05, le=_LONGEST)

    @field_validator("fail_run", mode="before")
    @classmethod
    def _code(cls, value: Any) -> Any:
        return {"code": value} if isinstance(value, str) else value

    @field_validator("run_status", mode="before")
    @classmethod
    def _statuses(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.partition(":") for part in value.split(",")]
        return {name.strip(): seconds or "1" for name, _, seconds in parts}

    @field_validator("method")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Faults:
        """Read switches by name; text is converted.

        Raises:
            InvalidFaultError: A name or a value is unknown.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            [first, *_] = error.errors()
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise InvalidFaultError(
                    f"there is no fault {name!r} of Census; known are {', '.join(cls.model_fields)}."
                ) from None
            raise InvalidFaultError(f"{name}={first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None

    @property
    def scope(self) -> Scope:
        """What the rule is about."""
        return (self.sync, self.method, self.path)

    @property
    def of_answers(self) -> bool:
        """Whether it changes answers."""
        return bool(self.status or self.reset or self.truncated or self.not_json or self.delay)

    @property
    def of_runs(self) -> bool:
        """Whether it changes how runs end."""
        counts = (self.failed_records, self.failed_ratio, self.invalid_records, self.invalid_ratio)
        return bool(self.fail_run or self.cancel_run or self.run_status or any(count is not None for count in counts))

    def set_ones(self) -> dict[str, JsonValue]:
        """The switches that differ from all being well."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Pace(NamedTuple):
    """How long a run takes, in seconds."""

    queued: float = 0.2
    working: float = 0.5
    poll: float = 5.0


class Rules:
    """The rules in force, and how often each has struck."""

    def __init__(self) -> None:
        self._rules: dict[Scope, Faults] = {}
        self._answers: dict[Scope, int] = {}
        self._runs: dict[Scope, int] = {}
        self._lock = threading.Lock()

    def change(self, changes: Mapping[str, object]) -> None:
        """Add to the rule of the scope that is named among the changes.

        Raises:
            InvalidFaultError: A part of it cannot be understood; nothing was changed.
        """
        scope = Faults.parse({name: changes[name] for name in ("sync", "method", "path") if name in changes}).scope
        with self._lock:
            before = self._rules.get(scope, Faults()).set_ones()
            rule = Faults.parse({**before, **changes})
            self._rules[scope] = rule
            self._answers[scope] = self._runs[scope] = 0

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def of_answer(self, sync: str, method: str, path: str) -> Faults | None:
        """The first rule that meets a request and has not struck often enough, counted."""
        with self._lock:
            for scope, rule in self._rules.items():
                meets = rule.sync in ("", sync) and rule.method in ("", method) and rule.path in path
                if meets and rule.of_answers and self._struck(self._answers, scope, rule):
                    return rule
        return None

    def of_run(self, sync: str) -> Faults:
        """The first rule that meets a new run of a sync and has not struck often enough, counted; or none at all."""
        with self._lock:
            for scope, rule in self._rules.items():
                if rule.sync in ("", sync) and rule.of_runs and self._struck(self._runs, scope, rule):
                    return rule
        return Faults()

    def pace(self, sync: str) -> Pace:
        """How long runs of a sync take; what is set for the sync goes before what is set for all."""
        with self._lock:
            rules = sorted((rule for rule in self._rules.values() if rule.sync in ("", sync)), key=lambda r: r.sync)
        found = Pace()
        for rule in rules:
            set_ones = {"queued": rule.queued_seconds, "working": rule.working_seconds, "poll": rule.poll_seconds}
            found = found._replace(**{name: value for name, value in set_ones.items() if value is not None})
        return found

    def shown(self) -> list[dict[str, JsonValue]]:
        """The rules as the endpoint lists them."""
        with self._lock:
            return [
                {**rule.set_ones(), "answers_struck": self._answers[scope], "runs_struck": self._runs[scope]}
                for scope, rule in self._rules.items()
            ]

    def _struck(self, counts: dict[Scope, int], scope: Scope, rule: Faults) -> bool:
        if rule.times is not None and counts[scope] >= rule.times:
            return False
        counts[scope] += 1
        return True
