"""A component whose attributes are read so that every error names the file and line where it stands."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from dagster import Component, ResolutionContext, Resolvable
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, create_model

from mz_orchestration.dagster.components.compat import Model, derive_model_type, resolve_fields_of
from mz_orchestration.dagster.components.places import FindingsError, Source
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.document import Finding

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.reading import Attribute


class AttributesComponent(Component, Resolvable, Model):
    """A component with attributes; fields that a subclass adds are read in Dagster's own way."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    _source: Source = PrivateAttr(default_factory=Source)

    @classmethod
    @abstractmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """How the fields stand in YAML; not until a component is used, so that importing it costs little."""

    @classmethod
    def model(cls) -> type[BaseModel]:
        """What may stand in YAML."""
        return _yaml_of(cls)

    @classmethod
    def resolve_from_model(cls, context: ResolutionContext, model: BaseModel) -> Self:
        """The component that attributes describe.

        Args:
            context: Where they stand, and what templates see.
            model: The attributes.

        Raises:
            ConfigurationError: Something is wrong with them: every finding, with its line.
        """
        source, attributes = Source(context.source_position_tree), cls.attributes()
        fields, findings = dict[str, Any](), list[Finding]()
        for name in model.model_fields_set & attributes.keys():
            try:
                value = getattr(model, name)
                # As it is where a component is made from a dictionary in which there is nothing.
                fields[name] = (
                    attributes[name].read(context.at_path(name), value, source) if value is not None else None
                )
            except FindingsError as error:
                findings += error.findings
        if findings:
            raise source.refused(findings) from None
        fields |= resolve_fields_of(_added_to(cls), context, model)
        try:
            component = cls(**fields)
        except ValidationError as error:
            raise source.refused(source.findings(error)) from None
        component._source = source
        return component

    def _placed(self, error: ConfigurationError) -> ConfigurationError:
        """An error with the file and line of the attribute that it is about."""
        field, _, text = error.message.partition(": ")
        place, about = ((field,), text) if field in self.attributes() else ((), error.message)
        return self._source.refused([self._source.finding(place, about)], hint=error.hint)


@functools.cache
def _yaml_of(component: type[AttributesComponent]) -> type[BaseModel]:
    from mz_orchestration.dagster.components.yaml_models import attributes_model

    kinds = {name: attribute.kind for name, attribute in component.attributes().items()}
    made: type[BaseModel] = attributes_model(
        f"{component.__name__}Attributes", kinds, component, derive_model_type(_added_to(component))
    )
    return made


@functools.cache
def _added_to(component: type[AttributesComponent]) -> type[Resolvable]:
    """A class with the fields that somebody has added to a component."""
    ours = component.attributes().keys()
    added: dict[str, Any] = {
        name: (info.annotation, info) for name, info in component.model_fields.items() if name not in ours
    }

    class Added(Resolvable, Model):
        pass

    return create_model(f"{component.__name__}Added", __base__=Added, **added)
