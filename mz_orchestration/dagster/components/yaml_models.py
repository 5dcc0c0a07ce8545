"""Models of what may stand in ``defs.yaml``, made of those that describe the same things in Python.

Dagster would make them itself, but widens every field to "or text", so that a template may stand there. A wrong value
then is text too, and told of when the code location loads, in lists with the whole list beside it. Here a value is
either right or a template, which editors and ``dg check yaml`` see as well, and what is wrong is said of the one field.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from mz_orchestration.dagster.components.compat import Model
from mz_orchestration.dagster.components.places import has_template

_TEMPLATE = {"type": "string", "pattern": r"\{[{%]", "description": "A template."}


class OrTemplate:
    """Annotation: the value is checked where it is no template, and stays as it is written."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The check; pydantic's protocol."""

        def check(value: Any, checked: Callable[[Any], Any]) -> Any:
            if not has_template(value):
                checked(value)
            return value

        as_it_is = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(check, handler(source), serialization=as_it_is)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The value's own schema, or a template; pydantic's protocol."""
        own = handler(schema)
        alternatives = own.get("anyOf", [own])
        if any(each.get("type") == "string" and not {"pattern", "enum"} & each.keys() for each in alternatives):
            return own
        about = {name: value for name, value in own.items() if name in ("description", "title", "default")}
        nested = [each for each in alternatives if handler.resolve_ref_schema(each).get("type") in ("array", "object")]
        if len(nested) == 1:
            # Of alternatives validators only say that none fits; this way they say what is wrong inside.
            return {"if": {"type": ["string", "null"]}, "then": _plain(own, nested[0]), "else": nested[0], **about}
        return {"anyOf": [*alternatives, _TEMPLATE], **about}


@functools.cache
def yaml_model(model: type[BaseModel], **others: Any) -> type[BaseModel]:
    """The model of a mapping in YAML.

    Args:
        model: What it stands for.
        **others: Types of the fields that stand for something else in YAML than in Python.
    """
    fields: dict[str, Any] = {}
    for field, info in model.model_fields.items():
        kind = _or_none(others[field], info) if field in others else _kind(info)
        fields[field] = (Annotated[kind, OrTemplate()], _about(info))
    return create_model(f"{model.__name__}Attributes", __base__=Model, **fields)


def attributes_model(name: str, kinds: Mapping[str, Any], component: type[BaseModel], others: type[BaseModel]) -> Any:
    """The model of a component's attributes.

    Args:
        name: Its own name.
        kinds: Types in YAML of the component's fields.
        component: The component, which describes them.
        others: Model of fields that somebody has added.
    """
    infos = component.model_fields
    fields: dict[str, Any] = {
        field: (Annotated[_or_none(kind, infos[field]), OrTemplate()], _about(infos[field]))
        for field, kind in kinds.items()
    }
    made = create_model(name, __base__=others, **fields)
    # Dagster's UI wants the order of all, or of none.
    made.model_config["json_schema_extra"] = {"title": component.__name__, "ui:order": list(made.model_fields)}
    return made


def _about(info: FieldInfo) -> Any:
    default = ... if info.is_required() else info.get_default(call_default_factory=True)
    plain = default is ... or isinstance(default, str | int | float | bool | None)
    return Field(default=default if plain else None, description=info.description, alias=info.alias)


def _or_none(kind: Any, info: FieldInfo) -> Any:
    return Union[kind, None] if not info.is_required() and info.default is None else kind  # noqa: UP007


def _plain(own: dict[str, Any], nested: dict[str, Any]) -> dict[str, Any]:
    """What a field that holds lists or mappings may hold besides: a template, and nothing if it may be left out."""
    others = [each for each in own.get("anyOf", []) if each != nested]
    return {"anyOf": [_TEMPLATE, *others]} if others else _TEMPLATE


def _kind(info: FieldInfo) -> Any:
    if not info.repr:
        # pydantic's errors show what was given.
        return Annotated[Any, WithJsonSchema({"type": "string"})]
    kind = _nested(info.annotation)
    return Annotated[(kind, *info.metadata)] if info.metadata else kind


def _nested(annotation: Any) -> Any:
    """An annotation, where there are models, with those of their YAML."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return yaml_model(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return Union[tuple(_nested(each) for each in arguments)]  # noqa: UP007  (made of a tuple)
    return annotation


def list_of(model: type[BaseModel]) -> Any:
    """The type of a list of mappings.

    Args:
        model: Of each of them.
    """
    return Sequence[model]  # type: ignore[valid-type]
