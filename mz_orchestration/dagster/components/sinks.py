"""The component of streaming sinks: their assets, the check of their health, and the sensor that tells of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from dagster import AssetSpec, ComponentLoadContext, DefaultSensorStatus, Definitions, scaffold_with
from pydantic import BaseModel, ConfigDict, Field

from mz_orchestration.dagster.components.attributes import AttributesComponent
from mz_orchestration.dagster.components.compat import TranslationFn
from mz_orchestration.dagster.components.export import default_name
from mz_orchestration.dagster.components.scaffolder import SinkScaffolder
from mz_orchestration.dagster.resources import MaterializeResource
from mz_orchestration.dagster.translator import ObjectProps
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.sinks.policy import HealthPolicy

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.reading import Attribute


class SinkSensor(BaseModel):
    """When a sink's check turns red and green, and what is told; times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    debounce: float = Field(default=30.0, ge=0, description="Seconds a sink has to be unwell.")
    recover_after: float = Field(default=60.0, ge=0, description="Seconds it has to be well again.")
    heartbeat: float = Field(
        default=900.0, ge=0, description="Seconds after which the check is told again although nothing has changed."
    )
    materialize_every: float = Field(
        default=60.0, ge=0, description="Seconds between two materializations of a sink that commits all the time."
    )
    job: str | None = Field(
        default=None,
        description="Name of a job that is run for each problem, once, with the sink and its verdict as tags.",
    )
    minimum_interval_seconds: int = Field(default=15, ge=1, description="Seconds between two looks.")
    default_status: Literal["RUNNING", "STOPPED"] = Field(
        default="STOPPED", description="RUNNING for a sensor that nobody has to switch on in the UI."
    )


@scaffold_with(SinkScaffolder)
class MaterializeSinksComponent(AttributesComponent):
    """The health of streaming sinks: external assets with a check each, and one sensor that looks at all of them.

    A sink that commits becomes a materialization of its asset; its check ``healthy`` turns red when it has been unwell
    for a while, with what is wrong and what to do, and green when it has been well again.
    """

    sinks: tuple[str, ...] = Field(description="[[database.]schema.]name of each.")
    kind: Literal["sink", "source"] = Field(default="sink", description="'source' to watch sources.")
    name: str | None = Field(
        default=None,
        description="Names the sensor and the check's op: letters, digits and _. The folder of this defs.yaml by "
        "default.",
    )
    sensor: SinkSensor = Field(default=SinkSensor(), description="When checks change, and what is told.")
    policy: HealthPolicy = Field(default=HealthPolicy(), description="How long what may last before it counts.")
    materialize: MaterializeResource | None = Field(
        default=None,
        description="How to reach Materialize. Left out: the project's resource 'materialize'.",
        repr=False,
    )
    resources: Literal["project", "environment"] = Field(
        default="project",
        description="Where the settings come from if they are left out above: 'project' for the project's resource "
        "'materialize', 'environment' for the variables that the command line reads (PGHOST and so on).",
    )
    translation: TranslationFn[Any] | None = Field(
        default=None, description="What is to be different about the assets: group_name, owners, key_prefix and so on."
    )

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """How the fields stand in YAML."""
        from mz_orchestration.dagster.components import reading

        return {
            "sinks": reading.plain(list[str]),
            "kind": reading.plain(Literal["sink", "source"]),
            "name": reading.plain(str | None),
            "sensor": reading.of_model(SinkSensor),
            "policy": reading.of_model(HealthPolicy),
            "materialize": reading.resource(MaterializeResource),
            "resources": reading.plain(Literal["project", "environment"]),
            "translation": reading.translation(),
        }

    def get_asset_spec(self, props: ObjectProps) -> AssetSpec:
        """The asset that stands for a sink or a source.

        Args:
            props: What it stands for.
        """
        from mz_orchestration.dagster.assets.sinks import build_sink_assets

        (spec,) = build_sink_assets([props.object])
        return spec if self.translation is None else self.translation(spec, props)

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """Assets, their checks and the sensor; contacts nothing.

        Args:
            context: Where the component stands.

        Raises:
            ConfigurationError: Something is wrong with the attributes, with the file and line.
        """
        from mz_orchestration.dagster.assets.sinks import build_sink_checks, sink_names
        from mz_orchestration.dagster.keys import plain_name, refuse_collisions
        from mz_orchestration.dagster.sensors.sink_health import build_sink_health_sensor

        name = plain_name(self.name or default_name(context))
        materialize = self.materialize or (MaterializeResource() if self.resources == "environment" else None)
        sensor = self.sensor.model_dump(exclude={"default_status"})
        try:
            specs = {each: self.get_asset_spec(ObjectProps(each, kind=self.kind)) for each in sink_names(self.sinks)}
            refuse_collisions(list(specs.values()), self.sinks)
            common: dict[str, Any] = {
                "kind": self.kind,
                "policy": self.policy,
                "asset_key_of": lambda each: specs[each].key,
                "materialize": materialize,
            }
            checks = build_sink_checks(self.sinks, name=f"{name}_checks", **common)
            status = DefaultSensorStatus(self.sensor.default_status)
            watching = build_sink_health_sensor(
                self.sinks, name=f"{name}_health", default_status=status, **sensor, **common
            )
        except ConfigurationError as error:
            raise self._placed(error) from None
        return Definitions(assets=list(specs.values()), asset_checks=[checks], sensors=[watching])
