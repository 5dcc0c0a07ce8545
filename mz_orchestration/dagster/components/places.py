"""What is wrong with a component's attributes, each with the file and line where it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import ResolutionContext
from pydantic import ValidationError

from mz_orchestration.dagster.components.compat import ResolutionException, SourcePositionTree
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.document import Finding, Place, field_name, in_order

# What pydantic says of these holds what the core says of them, value and all.
_OURS = ("value_error", "pipeline")
_MOST_SHOWN, _SHORTEST_HIDDEN = 80, 4
_UNSET = re.compile(r"\benv\.([A-Za-z_][A-Za-z0-9_]*)")
_ONE_VARIABLE = re.compile(r"\{\{\s*env(?:\.([A-Za-z_]\w*)|\(\s*(['\"])([A-Za-z_]\w*)\2\s*\))\s*\}\}")
_TEMPLATE = re.compile(r"\{[{%]")
_HINT = "Correct the file; nothing was started."


class FindingsError(ResolutionException):
    """Fields of a component cannot be what is written there.

    Attributes:
        findings: What is wrong, all of it.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = list(findings)
        super().__init__("\n".join(finding.text for finding in self.findings))


@dataclass
class Source:
    """The file that a component was read from, for errors; a component that was made in Python has none.

    Attributes:
        positions: Of all that is in the file.
        templated: What templates gave, by place: text, and the template in its place.
    """

    positions: SourcePositionTree | None = None
    templated: dict[Place, tuple[str, str]] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of an attribute, or of the closest thing around it that is in the file."""
        if self.positions is None:
            return 0
        return self.positions.lookup_closest_and_path(["attributes", *place], None)[0].start.line

    def finding(self, place: Place, text: str) -> Finding:
        """Something that is wrong with an attribute.

        Args:
            place: Where it stands.
            text: What, with the way out.
        """
        return Finding(self.line(place), text, field_name(place))

    def findings(self, error: ValidationError, place: Place = ()) -> list[Finding]:
        """What pydantic says, at the places where it stands; values that came from templates are not shown.

        Args:
            error: Of the model.
            place: Where the model itself stands.
        """
        return [
            self._finding((*place, *item["loc"]), item)
            for item in error.errors(include_url=False, include_context=False)
        ]

    def refused(self, findings: Iterable[Finding], *, hint: str = _HINT) -> ConfigurationError:
        """The error that tells of all that is wrong.

        Args:
            findings: What is wrong.
            hint: What to do.
        """
        name = f"{self.positions.position.filename}:" if self.positions is not None else ""
        lines = []
        for each in in_order(list(findings)):
            at = f"{name}{each.line}: " if name else ""
            about = f"{each.field}: " if each.field else ""
            stop = "" if each.text.endswith((".", "?")) else "."
            lines.append(f"{at}{about}{each.text}{stop}")
        if len(lines) > 1:
            lines.insert(0, f"{name} {len(lines)} things are wrong.".lstrip())
        return ConfigurationError("\n".join(lines), hint=hint)

    def _finding(self, place: Place, item: Mapping[str, Any]) -> Finding:
        kind, text = item["type"], str(item["msg"]).removeprefix("Value error, ").rstrip(".")
        if kind == "missing":
            return self.finding(place[:-1], f"{place[-1]!r} is missing; give it")
        if kind == "extra_forbidden":
            return self.finding(place, "there is no such field")
        if kind in _OURS:
            return self.finding(place, self._without_values(text))
        if place not in self.templated and isinstance(item.get("input"), str | int | float | bool):
            text += f" (got {repr(item['input'])[:_MOST_SHOWN]})"
        return self.finding(place, text)

    def _without_values(self, text: str) -> str:
        pairs = {pair for pair in self.templated.values() if len(pair[0]) >= _SHORTEST_HIDDEN}
        for content, template in sorted(pairs, key=lambda pair: -len(pair[0])):
            text = text.replace(content, template)
        return text


def has_template(value: Any) -> bool:
    """Whether a value is text that Dagster fills in."""
    return isinstance(value, str) and _TEMPLATE.search(value) is not None


def place_of(context: ResolutionContext) -> Place:
    """Where the attribute stands that a context is about."""
    path = tuple(context.path)
    return path[1:] if path[:1] == ("attributes",) else path


def reason(error: ResolutionException) -> str:
    """Why a template cannot be filled in, without the place, which Dagster tells of some templates only.

    Args:
        error: Dagster's.
    """
    return str(error).strip().splitlines()[-1].strip()


def resolved(context: ResolutionContext, value: Any, source: Source) -> Any:
    """A value with its templates filled in.

    Unlike Dagster's own way, text without a template stays text: there ``"12"`` becomes a number. So does the content
    of a variable, which may be a password of digits.

    Args:
        context: At the value.
        value: As it is written.
        source: Learns what came from templates.

    Raises:
        FindingsError: A variable that is not set would silently be nothing.
        ResolutionException: A template cannot be filled in.
    """
    if isinstance(value, Mapping):
        return {name: resolved(context.at_path(name), each, source) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(context.at_path(i), each, source) for i, each in enumerate(value)]
    if not has_template(value):
        return value
    place = place_of(context)
    try:
        found = context.resolve_value(value)
    except ResolutionException as error:
        raise FindingsError([source.finding(place, reason(error))]) from None
    if found is None or (isinstance(found, str) and "None" in found):
        for name in _UNSET.findall(value):
            if name not in os.environ:
                text = (
                    f"the environment variable {name} is not set, and {value!r} silently is nothing then; set it, and "
                    f"write {{{{ env('{name}') }}}}, which says so"
                )
                raise FindingsError([source.finding(place, text)])
    if not isinstance(found, list | tuple | dict) and (match := _ONE_VARIABLE.fullmatch(value.strip())):
        found = os.environ.get(match[1] or match[3], found)
    if isinstance(found, str):
        source.templated[place] = (found, value)
    return found
