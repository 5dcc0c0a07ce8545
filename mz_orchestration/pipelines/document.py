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

LARGEST = 1 << 20
_MOST_NODES, _DEEPEST, _LONGEST_NUMBER = 20_000, 50, 100
_REFERENCE = re.compile(r"\$(\$)?\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (as its base class has it)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As the base class does, and refuse what is too large or too deep before it costs time or the stack."""
        self._nodes += 1
        self._depth += 1
        if self._nodes > _MOST_NODES or self._depth > _DEEPEST:
            what = "it holds too much" if self._nodes > _MOST_NODES else "it is nested too deeply"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"{what} to be a pipeline", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def written_without_tag(self, node: yaml.ScalarNode) -> bool:
        """Whether its meaning is the one that its text has by itself."""
        plain = node.style is None
        tag: str = self.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
        return node.tag == tag


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


TOO_LARGE = Finding(1, f"the file is larger than {LARGEST >> 20} MiB")


@dataclass
class Document:
    """What a file holds.

    Attributes:
        data: Plain values.
        findings: What is wrong with the file itself.
        keys: Line of each field's name.
        values: Line of each field's value.
        hidden: What came from the environment by the field that it stands in: content and reference.
    """

    data: Any = None
    findings: list[Finding] = field(default_factory=list)
    keys: dict[Place, int] = field(default_factory=dict)
    values: dict[Place, int] = field(default_factory=dict)
    hidden: dict[Place, list[tuple[str, str]]] = field(default_factory=dict)

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
    if len(text) > LARGEST:
        document.findings.append(TOO_LARGE)
        return document
    try:
        nodes = [node for node in yaml.compose_all(text, _Loader)]
    except yaml.YAMLError as error:
        document.findings.append(_not_yaml(error, text))
        return document
    except (ValueError, OverflowError):
        # Of escapes such as "\\UFFFFFFFF", and of directives with numbers of thousands of digits.
        document.findings.append(Finding(1, "this is not YAML: it holds a character or a number that does not exist"))
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
        try:
            document.data = _Builder(document, environment).build(nodes[0], ())
        except RecursionError:
            document.findings.append(Finding(1, "merge keys make this too deep to be a pipeline"))
    return document


def _not_yaml(error: yaml.YAMLError, text: str = "") -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    # A character that YAML does not allow is told by where it stands.
    position = getattr(error, "position", None)
    line = mark.line if mark is not None else text.count("\n", 0, position) if isinstance(position, int) else 0
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
        self._too_large = False
        self._within: set[int] = set()
        self._flat: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}

    def build(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self._document.values[place] = line
        self._left -= 1
        if self._left < 0 or len(place) > _DEEPEST or id(node) in self._within:
            if not self._too_large:
                self._find(line, "aliases make this too large to be a pipeline", place)
            self._too_large = True
            return None
        self._within.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                if node.tag != "tag:yaml.org,2002:seq":
                    self._find(line, f"the tag {node.tag!r} means nothing here; leave it out", place)
                return [self.build(item, (*place, i)) for i, item in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            return self._scalar(node, place)
        finally:
            self._within.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        data = {}
        for name, (key, value) in self._flattened(node, place).items():
            self._document.keys[(*place, name)] = key.start_mark.line + 1
            data[name] = self.build(value, (*place, name))
        return data

    def _flattened(self, node: yaml.MappingNode, place: Place) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Keys and values by name, with those of merge keys; what the mapping says itself wins.

        PyYAML's own way multiplies the pairs of merges of merges; by name, they cannot be more than the file has.
        """
        if id(node) in self._flat:
            return self._flat[id(node)]
        # Also for one that is merged into itself.
        self._flat[id(node)] = {}
        if node.tag != "tag:yaml.org,2002:map":
            self._find(node.start_mark.line + 1, f"the tag {node.tag!r} means nothing here; leave it out", place)
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._find(line, "a name must be a single word", place)
                continue
            if key.tag == "tag:yaml.org,2002:merge":
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(each, yaml.MappingNode):
                        self._find(line, "'<<' takes fields from an alias such as *name, or from a list of them", place)
                        continue
                    # The first of several wins.
                    merged = {**self._flattened(each, place), **merged}
                    self._left -= 1
                continue
            name = str(key.value)
            if name in own:
                first = own[name][0].start_mark.line + 1
                self._find(line, f"{name!r} is given twice, first in line {first}; keep one", (*place, name))
            own.setdefault(name, (key, value))
        self._left -= len(merged)
        self._flat[id(node)] = {**merged, **own} if self._left >= 0 else {}
        return self._flat[id(node)]

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text, line = str(node.value), node.start_mark.line + 1
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "str":
            return self._filled(text, line, place) if "${" in text else text
        if not self._loader.written_without_tag(node):
            self._find(line, f"the tag {node.tag!r} means nothing here; leave it out", place)
            return None
        match kind:
            case "null" if not text:
                self._find(line, "it has no value; give one, or leave the line out", place)
            case "bool":
                return text.lower() == "true"
            case "int" | "float" if len(text) > _LONGEST_NUMBER:
                self._find(line, "this number is too long", place)
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "merge":
                return text
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
            self._document.hidden.setdefault(place, []).append((found, f"${{{name}}}"))
            return found

        return _REFERENCE.sub(value, text)

    def _find(self, line: int, text: str, place: Place) -> None:
        self._document.findings.append(Finding(line, text, field_name(place)))


def in_order(findings: list[Finding]) -> Iterator[Finding]:
    """The findings from the top of the file down, each once."""
    return iter(sorted(dict.fromkeys(findings), key=lambda finding: finding.line))
