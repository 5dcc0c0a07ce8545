"""A YAML document as plain data that remembers the line of every key and value.

Scalars mean what YAML 1.2 says: ``on``, ``no`` and ``12:30`` are text, only ``true`` and ``false`` are truth.
``${NAME}`` in a value is replaced from the environment; what comes from there is not looked at again and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Place = tuple[str | int, ...]

_LARGEST, _MOST_NODES, _DEEPEST = 1 << 20, 100_000, 50
_REFERENCE = re.compile(r"\$(\$)?\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (as its base class has it)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong.

    Attributes:
        line: Counted from 1.
        text: What, with the way out.
        field: The field it is about, as people write it: ``exports[1].where``.
    """

    line: int
    text: str
    field: str = ""


@dataclass
class Document:
    """What a file holds.

    Attributes:
        data: Plain values.
        findings: What is wrong with the file itself.
        keys: Line of each field's name.
        values: Line of each field's value.
        hidden: Fields whose value came from the environment.
    """

    data: Any = None
    findings: list[Finding] = field(default_factory=list)
    keys: dict[Place, int] = field(default_factory=dict)
    values: dict[Place, int] = field(default_factory=dict)
    hidden: set[Place] = field(default_factory=set)

    def line(self, place: Place, *, of_key: bool = False) -> int:
        """The line of a field, or of the closest thing around it that is in the file."""
        while place:
            found = self.keys.get(place) if of_key else self.values.get(place, self.keys.get(place))
            if found is not None:
                return found
            place = place[:-1]
        return self.values.get((), 1)


def field_name(place: Place) -> str:
    """A place as people write it: ``exports[1].where``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_document(text: str, environment: Mapping[str, str]) -> Document:
    """Read YAML; what is wrong with it is in the findings, and then there is no data."""
    document = Document()
    if len(text) > _LARGEST:
        document.findings.append(Finding(1, f"the file is larger than {_LARGEST >> 20} MiB"))
        return document
    try:
        nodes = [node for node in yaml.compose_all(text, _Loader)]
    except yaml.YAMLError as error:
        document.findings.append(_not_yaml(error, text))
        return document
    except (RecursionError, ValueError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        document.findings.append(Finding(1, f"this is not YAML: {reason}"))
        return document
    if not nodes or nodes[0] is None:
        document.findings.append(Finding(1, "the file is empty"))
    elif len(nodes) > 1:
        line = nodes[1].start_mark.line + 1
        document.findings.append(Finding(line, "a second document begins here; a pipeline is one file of one document"))
    elif not isinstance(nodes[0], yaml.MappingNode):
        document.findings.append(
            Finding(nodes[0].start_mark.line + 1, "expected names with values, such as 'name: nightly'")
        )
    else:
        document.data = _Builder(document, environment).build(nodes[0], ())
    return document


def _not_yaml(error: yaml.YAMLError, text: str = "") -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    line = 0 if mark is None else mark.line
    here = text.splitlines()[line : line + 1]
    # Between braces, the brace of a reference begins a mapping.
    quotes = "; put a value with ${...} in quotes" if here and "${" in here[0] else ""
    return Finding(line + 1, f"this is not YAML: {problem}{quotes}")


class _Builder:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._loader = _Loader("")
        self._left = _MOST_NODES
        self._within: set[int] = set()

    def build(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self._document.values[place] = line
        self._left -= 1
        if self._left < 0 or len(place) > _DEEPEST or id(node) in self._within:
            if self._left > -2 or id(node) in self._within:
                self._find(line, "aliases make this too large to be a pipeline", place)
            return None
        self._within.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*place, i)) for i, item in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            return self._scalar(node, place)
        finally:
            self._within.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            text, line = str(key.value), key.start_mark.line + 1
            if text in seen:
                self._find(line, f"{text!r} is given twice, first in line {seen[text]}", (*place, text))
            seen.setdefault(text, line)
        try:
            # Merge keys: what the mapping says itself comes last and wins.
            self._loader.flatten_mapping(node)
        except yaml.YAMLError as error:
            self._document.findings.append(_not_yaml(error))
            return {}
        data = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._find(key.start_mark.line + 1, "a name must be a single word", place)
                continue
            name = str(key.value)
            self._document.keys[(*place, name)] = key.start_mark.line + 1
            data[name] = self.build(value, (*place, name))
        return data

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text = str(node.value)
        if kind == "str":
            return self._filled(text, node.start_mark.line + 1, place) if "${" in text else text
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return int(text)
            if kind == "float":
                return float(text)
        except ValueError:
            # Python refuses to read numbers of thousands of digits.
            self._find(node.start_mark.line + 1, "this number is too long", place)
            return None
        self._find(node.start_mark.line + 1, f"the tag {node.tag!r} means nothing here; leave it out", place)
        return None

    def _filled(self, text: str, line: int, place: Place) -> str:
        def value(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return match.group()[1:]
            if not _NAME.fullmatch(name):
                self._find(line, f"'${{{name}}}' is no name of a variable; write $${{...}} for the text itself", place)
                return ""
            found = self._environment.get(name)
            if not found:
                state = "not set" if found is None else "empty"
                self._find(line, f"${{{name}}}: the environment variable {name} is {state}; set it", place)
                return ""
            self._document.hidden.add(place)
            return found

        return _REFERENCE.sub(value, text)

    def _find(self, line: int, text: str, place: Place) -> None:
        self._document.findings.append(Finding(line, text, field_name(place)))


def in_order(findings: list[Finding]) -> Iterator[Finding]:
    """The findings from the top of the file down, each once."""
    return iter(sorted(dict.fromkeys(findings), key=lambda finding: finding.line))
