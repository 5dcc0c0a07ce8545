"""Cron expressions: checked, and said again for systemd's timers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mz_orchestration.errors import ConfigurationError

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.first
        if not re.fullmatch(r"[0-9]{1,2}", text):
            raise ValueError(f"{text!r} is no {self.name}")
        number = int(text)
        if not self.first <= number <= self.last:
            raise ValueError(f"{self.name} {number} is not between {self.first} and {self.last}")
        return number

    def numbers(self, text: str) -> set[int]:
        found: set[int] = set()
        for item in text.split(","):
            span, slash, step = item.partition("/")
            first, dash, last = span.partition("-")
            if span == "*":
                begin, end = self.first, self.last
            elif dash:
                begin, end = self.number(first), self.number(last)
            else:
                begin = end = self.number(span)
            if begin > end:
                raise ValueError(f"{self.name} {span}: a range goes upwards")
            if slash and not (re.fullmatch(r"[1-9][0-9]?", step) and (span == "*" or dash)):
                raise ValueError(f"{self.name} {item}: a step is a number behind * or a range")
            found |= set(range(begin, end + 1, int(step or 1)))
        return found


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of the week", 0, 7, tuple(_DAYS)),
)


@dataclass(frozen=True)
class CronExpression:
    """A schedule.

    Attributes:
        text: Its five fields.
        calendar: The same for ``OnCalendar=``; two lines where cron means days of the month *or* of the week.
    """

    text: str
    calendar: tuple[str, ...]


def parse_cron(text: str) -> CronExpression:
    """Read a cron expression of five fields, or one of cron's words for them, such as ``@daily``.

    Raises:
        ConfigurationError: cron would not take it, or it never comes.
    """
    words = _MACROS.get(text.strip().lower(), text).split()
    try:
        if len(words) != len(_FIELDS):
            raise ValueError("it is not five fields: minute, hour, day of the month, month, day of the week")
        found = [field.numbers(word) for field, word in zip(_FIELDS, words, strict=True)]
        minutes, hours, dates, months, weekdays = found
        weekdays = {day % 7 for day in weekdays}
        if all(min(dates) > _LONGEST_MONTHS[month - 1] for month in months) and words[4].startswith("*"):
            raise ValueError("there is no such date")
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no cron expression: {error}.", hint="Write it like '0 2 * * *', which is 02:00 every day."
        ) from error
    time = f"{_listed(hours, 24)}:{_listed(minutes, 60)}:00"
    # systemd's weeks begin on Monday; it takes names only.
    names = ",".join(_DAYS[day % 7].capitalize() for day in range(1, 8) if day % 7 in weekdays)
    names = "" if len(weekdays) == 7 else f"{names} "
    month = _listed(months, 12)
    every = f"*-{month}-*", f"*-{month}-{_listed(dates, 31)}"
    if words[2].startswith("*") or words[4].startswith("*"):
        calendar: tuple[str, ...] = (f"{names}{every[1]} {time}",)
    else:
        calendar = (f"{names}{every[0]} {time}", f"{every[1]} {time}")
    return CronExpression(" ".join(words), calendar)


def _listed(numbers: set[int], all_of: int) -> str:
    return "*" if len(numbers) == all_of else ",".join(f"{number:02}" for number in sorted(numbers))
