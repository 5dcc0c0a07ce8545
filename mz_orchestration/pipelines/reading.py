"""Reading pipeline files: every mistake at once, each with file, line, field and the way out."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.pipelines.document import (
    LARGEST,
    TOO_LARGE,
    Document,
    Finding,
    Place,
    field_name,
    in_order,
    read_document,
)
from mz_orchestration.pipelines.planning import Plan, plan_pipeline
from mz_orchestration.pipelines.spec import PipelineSpec

# What pydantic says of these holds what we say of them ourselves.
_OURS = ("value_error", "pipeline")
# What people need to know where pydantic speaks of Python.
_MEANINGS = {
    "string_type": "expected text; put it in quotes",
    "model_type": "expected fields with values",
    "dict_type": "expected names with values",
    "tuple_type": "expected a list; write [...], or lines that begin with '- '",
}
_MOST_SHOWN, _SHORTEST_SECRET = 80, 4
_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "description": "From the environment."}


def read_pipeline(path: Path | str, *, environment: Mapping[str, str] | None = None) -> Plan:
    """Read a pipeline file and plan it; contacts nothing.

    Args:
        path: Of a file in YAML.
        environment: What ``${NAME}`` stands for; the process' own by default.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: It cannot be read, or something is wrong with it: every finding, with its line.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            body = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no pipeline file {path}.", hint="Give its path, or write one with 'mz-orchestration init'."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.", hint="Give the path of a file."
        ) from error
    if len(body) > LARGEST:
        raise _refused(str(path), [TOO_LARGE])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: this is not UTF-8.", hint="Save the file as UTF-8.") from error
    return parse_pipeline(text, source=str(path), environment=environment)


def parse_pipeline(text: str, *, source: str, environment: Mapping[str, str] | None = None) -> Plan:
    """Plan a pipeline from the text of a file.

    Args:
        text: YAML.
        source: The file's name, for errors.
        environment: What ``${NAME}`` stands for; the process' own by default.

    Raises:
        ConfigurationError: Something is wrong with it: every finding, with its line.
    """
    document = read_document(text, os.environ if environment is None else environment)
    if not document.findings:
        try:
            return plan_pipeline(PipelineSpec.model_validate(document.data))
        except ValidationError as error:
            document.findings += [_finding(item, document) for item in error.errors(include_url=False)]
    raise _refused(source, document.findings)


def pipeline_schema() -> dict[str, Any]:
    """The JSON schema of pipeline files, for editors; ``${NAME}`` may stand wherever a single value does."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    schema = PipelineSpec.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            model["properties"][name] = _or_reference(field, schema["$defs"])
    return {"$schema": dialect, **schema}


def _or_reference(field: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """A field that may be a reference too, if it holds one value that is not any text."""
    alternatives = [each for kind in field.get("anyOf", [field]) for each in kind.get("anyOf", [kind])]
    if not any(_is_narrow(models.get(each.get("$ref", "").rpartition("/")[2], each)) for each in alternatives):
        return field
    about: dict[str, Any] = {key: field[key] for key in ("description", "title", "default") if key in field}
    rest = [{key: value for key, value in each.items() if key not in about} for each in alternatives]
    return {"anyOf": [*rest, _REFERENCE], **about}


def _is_narrow(kind: dict[str, Any]) -> bool:
    return kind.get("type") in {"integer", "number", "boolean"} or bool({"enum", "pattern"} & kind.keys())


def _refused(source: str, findings: list[Finding]) -> ConfigurationError:
    lines = []
    for finding in in_order(findings):
        about = f"{finding.field}: " if finding.field else ""
        stop = "" if finding.text.endswith((".", "?")) else "."
        lines.append(_in_a_line(f"{source}:{finding.line}: {about}{finding.text}{stop}"))
    if len(lines) > 1:
        lines.insert(0, f"{source}: {len(lines)} things are wrong.")
    return ConfigurationError("\n".join(lines), hint="Correct the file; nothing was started.")


def _in_a_line(text: str) -> str:
    """One line that no name in the file can break, or send to a terminal as a command."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text.replace("\n", " "))


def _finding(item: Any, document: Document) -> Finding:
    place, kind = _in_file(item["loc"], document), item["type"]
    if kind == "extra_forbidden":
        return Finding(document.line(place, of_key=True), _unknown_field(place), field_name(place))
    if kind == "missing":
        return Finding(document.line(place[:-1]), f"{place[-1]!r} is missing; give it", field_name(place[:-1]))
    text = _MEANINGS.get(kind) or item["msg"].removeprefix("Value error, ").rstrip(".")
    if kind in _OURS:
        text = _without_secrets(text, place, document)
    elif _may_be_shown(place, item.get("input"), document):
        text += f" (got {repr(item['input'])[:_MOST_SHOWN]})"
    return Finding(document.line(place), text, field_name(place))


def _may_be_shown(place: Place, value: Any, document: Document) -> bool:
    # Of notifications everything may be an address, also where none is wanted; what events there are is no secret.
    secret = place in document.hidden or (place[:1] == ("notifications",) and "on" not in place)
    return isinstance(value, str | int | float | bool) and not secret


def _without_secrets(text: str, place: Place, document: Document) -> str:
    """A text of ours, with references in place of what came from the environment for them.

    A text about one field may name the value of another. Where it is about the field itself it may name a part of the
    value, so there no word of it stays.
    """
    pairs = [pair for found in document.hidden.values() for pair in found if len(pair[0]) >= _SHORTEST_SECRET]
    for content, reference in document.hidden.get(place, []):
        words = re.findall(r"\w+", content)
        pairs += [
            (repr(content), repr(reference)),
            *((word, reference) for word in words if len(word) >= _SHORTEST_SECRET),
        ]
    for content, reference in sorted(set(pairs), key=lambda pair: -len(pair[0])):
        for shown in (content, repr(content)[1:-1]):
            text = text.replace(shown, reference)
    return text


def _in_file(loc: Place, document: Document) -> Place:
    """A place without what pydantic adds to it for the alternatives of a field."""
    place: Place = ()
    for i, part in enumerate(loc):
        nested = (*place, part)
        known = nested in document.values or nested in document.keys
        if not known and i < len(loc) - 1 and place in document.values and not isinstance(part, int):
            continue
        place = nested
    return place


def _unknown_field(place: Place) -> str:
    model, name = _model_at(place[:-1]), str(place[-1])
    known = list(model.model_fields) if model else []
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"there is no such field; did you mean {close[0]!r}?"
    return f"there is no such field; there are {', '.join(known)}" if known else "there is no such field"


def _model_at(place: Place) -> type[BaseModel] | None:
    model: type[BaseModel] | None = PipelineSpec
    for part in place:
        if isinstance(part, str):
            field = model.model_fields.get(part) if model else None
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
