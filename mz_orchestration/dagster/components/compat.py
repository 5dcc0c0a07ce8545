"""The one place for names of Dagster's components that are not in its public modules, and for what differs by version.

Everything here is loaded by ``import dagster`` itself, so it costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dagster import ComponentLoadContext, ResolutionContext, Resolvable
from dagster.components import AssetAttributesModel, Model
from dagster.components.core.defs_module import ComponentPath
from dagster.components.resolved.base import derive_model_type, resolve_fields
from dagster.components.resolved.core_models import (
    DailyPartitionsDefinitionModel,
    HourlyPartitionsDefinitionModel,
    StaticPartitionsDefinitionModel,
    TimeWindowPartitionsDefinitionModel,
    WeeklyPartitionsDefinitionModel,
    resolve_partitions_def,
)
from dagster.components.resolved.errors import ResolutionException
from dagster.components.utils.translation import TranslationFn, TranslatorResolvingInfo
from dagster_shared.record import copy
from dagster_shared.yaml_utils.source_position import SourcePositionTree

__all__ = [
    "AssetAttributesModel",
    "Model",
    "PartitionsModel",
    "ResolutionException",
    "SourcePositionTree",
    "TranslationFn",
    "component_folder",
    "component_number",
    "derive_model_type",
    "resolve_fields_of",
    "resolve_partitions_def",
    "translation_fn",
]

PartitionsModel = (
    HourlyPartitionsDefinitionModel
    | DailyPartitionsDefinitionModel
    | WeeklyPartitionsDefinitionModel
    | TimeWindowPartitionsDefinitionModel
    | StaticPartitionsDefinitionModel
)


def translation_fn(context: ResolutionContext, attributes: Any) -> TranslationFn[Any]:
    """What a translation in YAML does to an asset; its templates see ``spec`` and ``props``.

    Args:
        context: At the translation.
        attributes: The translation as it is written: a mapping, or a template that gives one.

    Raises:
        ValidationError: pydantic's; something is wrong with the mapping.
    """
    info = TranslatorResolvingInfo(
        asset_attributes=attributes if isinstance(attributes, str) else AssetAttributesModel(**attributes),
        # It goes to the field's place by itself.
        resolution_context=copy(context, path=context.path[:-1]),
        model_key=str(context.path[-1]),
    )
    return lambda spec, props: info.get_asset_spec(spec, {"spec": spec, "props": props})


def resolve_fields_of(resolvable: type[Resolvable], context: ResolutionContext, model: Any) -> dict[str, Any]:
    """The values of fields, resolved in Dagster's own way.

    Args:
        resolvable: Class that has these fields, and no others.
        context: Of the attributes.
        model: The attributes as they are written; it may have other fields, too.
    """
    given = model.model_fields_set & derive_model_type(resolvable).model_fields.keys()
    some = type(model).model_construct(set(given), **{name: getattr(model, name) for name in given})
    return dict(resolve_fields(some, resolvable, context)) if given else {}


def component_folder(context: ComponentLoadContext) -> Path | None:
    """The folder of the component's ``defs.yaml``; None of a component that no file declares."""
    where = _component_path(context)
    if where is None:
        return None
    return where.file_path if where.file_path.is_dir() else where.file_path.parent


def component_number(context: ComponentLoadContext) -> int:
    """Which of the components in its file it is, counted from 0."""
    where = _component_path(context)
    return where.instance_key if where is not None and isinstance(where.instance_key, int) else 0


def _component_path(context: ComponentLoadContext) -> ComponentPath | None:
    # From 1.13 on a component may have another place than a path; before, there is only the path.
    place: Any = getattr(context, "component_loc", None) or getattr(context, "component_path", None)
    return place if isinstance(place, ComponentPath) else None
