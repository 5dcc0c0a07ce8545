"""From the attributes of ``defs.yaml`` to what they mean: how each kind of field looks there, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import AssetSpec, ConfigurableResource, FreshnessPolicy, PartitionsDefinition, ResolutionContext
from pydantic import BaseModel, TypeAdapter, ValidationError

from mz_orchestration.dagster.components.automation import automation_condition
from mz_orchestration.dagster.components.compat import (
    AssetAttributesModel,
    PartitionsModel,
    ResolutionException,
    resolve_partitions_def,
    translation_fn,
)
from mz_orchestration.dagster.components.models import DagsterAttributes, Freshness, Schedule
from mz_orchestration.dagster.components.places import FindingsError, Source, has_template, place_of, reason, resolved
from mz_orchestration.dagster.components.yaml_models import list_of, yaml_model
from mz_orchestration.pipelines.document import Finding

Read = Callable[[ResolutionContext, Any, Source], Any]


@dataclass(frozen=True)
class Attribute:
    """A field of a component as it stands in YAML.

    Attributes:
        kind: Its type there.
        read: Makes the value in Python of it; raises `FindingsError`, or Dagster's own error of templates.
    """

    kind: Any
    read: Read


def plain(kind: Any) -> Attribute:
    """A single value.

    Args:
        kind: Its type.
    """
    return Attribute(kind, resolved)


def of_model(model: type[BaseModel]) -> Attribute:
    """A mapping that stands for a model.

    Args:
        model: The model.
    """
    return Attribute(yaml_model(model), lambda context, value, source: _model(model, context, value, source))


def resource(model: type[ConfigurableResource[Any]]) -> Attribute:
    """A mapping that stands for a resource.

    Args:
        model: The resource.
    """
    return Attribute(yaml_model(model), lambda context, value, source: _resource(model, context, value, source))


def entries(model: type[DagsterAttributes]) -> Attribute:
    """A list of exports, loads or syncs.

    Args:
        model: One of them.
    """
    kinds = {name: attribute.kind for name, attribute in dagster_attributes().items()}
    kind = list_of(yaml_model(model, **kinds))
    return Attribute(kind, lambda context, value, source: _entries(model, context, value, source))


def dagster_attributes() -> dict[str, Attribute]:
    """What is Dagster's own of an asset, or of all of a component."""
    return {
        "schedule": of_model(Schedule),
        "freshness": Attribute(yaml_model(Freshness), _freshness),
        "automation_condition": Attribute(str, _condition),
        "translation": translation(),
    }


def translation() -> Attribute:
    """What is to be different about assets."""
    return Attribute(AssetAttributesModel, _translation)


def partitions() -> Attribute:
    """Partitions, in the words of Dagster's own components."""
    return Attribute(PartitionsModel, _partitions)


def _model(model: type[BaseModel], context: ResolutionContext, value: Any, source: Source) -> Any:
    found = resolved(context, value, source)
    if isinstance(found, model):
        return found
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise FindingsError(source.findings(error, place_of(context))) from None


def _resource(model: type[ConfigurableResource[Any]], context: ResolutionContext, value: Any, source: Source) -> Any:
    # What comes from templates here may be a secret, which nothing keeps but the resource.
    found = resolved(context, value, Source(source.positions))
    if isinstance(found, model) or found is None:
        return found
    place = place_of(context)
    try:
        return model(**found)
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)
        raise FindingsError(
            [source.finding((*place, *item["loc"]), _without_input(item["msg"])) for item in items]
        ) from None
    except TypeError:
        raise FindingsError([source.finding(place, "expected fields with values")]) from None


def _without_input(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def _entries(model: type[DagsterAttributes], context: ResolutionContext, value: Any, source: Source) -> Any:
    items = resolved(context, value, source) if has_template(value) else value
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise FindingsError([source.finding(place_of(context), "expected a list")])
    found, findings = [], []
    for i, item in enumerate(items):
        try:
            found.append(_entry(model, context.at_path(i), item, source))
        except FindingsError as error:
            findings += error.findings
    if findings:
        raise FindingsError(findings)
    return tuple(found)


def _entry(model: type[DagsterAttributes], context: ResolutionContext, item: Any, source: Source) -> Any:
    if isinstance(item, model):
        return item
    if not isinstance(item, Mapping):
        raise FindingsError([source.finding(place_of(context), "expected fields with values")])
    special, fields, findings = dagster_attributes(), {}, list[Finding]()
    for name, value in item.items():
        read = special[name].read if name in special else resolved
        try:
            fields[name] = read(context.at_path(name), value, source) if value is not None else None
        except FindingsError as error:
            findings += error.findings
    if findings:
        raise FindingsError(findings)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise FindingsError(source.findings(error, place_of(context))) from None


def _freshness(context: ResolutionContext, value: Any, source: Source) -> FreshnessPolicy:
    found = resolved(context, value, source)
    if isinstance(found, FreshnessPolicy):
        return found
    freshness: Freshness = _model(Freshness, context, found, source)
    return freshness.policy()


def _condition(context: ResolutionContext, value: Any, source: Source) -> Any:
    try:
        return automation_condition(resolved(context, value, source))
    except ValueError as error:
        raise FindingsError([source.finding(place_of(context), str(error))]) from None


def _translation(context: ResolutionContext, value: Any, source: Source) -> Any:
    if callable(value):
        return value
    place = place_of(context)
    try:
        translate = translation_fn(context, value)
    except ValidationError as error:
        raise FindingsError(source.findings(error, place)) from None

    def translated(spec: AssetSpec, props: Any) -> AssetSpec:
        # Its templates are filled in for each asset.
        try:
            return translate(spec, props)
        except ResolutionException as error:
            raise FindingsError([source.finding(place, reason(error))]) from None

    return translated


def _partitions(context: ResolutionContext, value: Any, source: Source) -> PartitionsDefinition | None:
    found = resolved(context, value, source)
    if found is None or isinstance(found, PartitionsDefinition):
        return found
    try:
        made: PartitionsDefinition | None = resolve_partitions_def(
            context, TypeAdapter[Any](PartitionsModel).validate_python(found)
        )
    except ValidationError as error:
        raise FindingsError(source.findings(error, place_of(context))) from None
    return made
