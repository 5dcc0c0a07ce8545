"""What components of pipelines have in common: their attributes and definitions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dagster import (
    AssetChecksDefinition,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    AutomationCondition,
    ComponentLoadContext,
    ConfigurableResource,
    Definitions,
    FreshnessPolicy,
    PartitionsDefinition,
    SensorDefinition,
)
from pydantic import Field

from mz_orchestration.dagster.assets.attributes import without_waiting_for_objects
from mz_orchestration.dagster.components.attributes import AttributesComponent
from mz_orchestration.dagster.components.compat import TranslationFn
from mz_orchestration.dagster.components.models import DagsterAttributes, Entry, Schedule
from mz_orchestration.dagster.components.places import FindingsError
from mz_orchestration.dagster.components.translation import ComponentTranslator
from mz_orchestration.dagster.pipelines import plan_assets, plan_specs
from mz_orchestration.dagster.resources import (
    BoundResources,
    CensusResource,
    MaterializeResource,
    ObjectStoreResource,
    SnowflakeResource,
)
from mz_orchestration.dagster.translator import (
    DagsterMaterializeTranslator,
    ExportProps,
    ObjectProps,
    Props,
    RetentionProps,
)
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.document import Place

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.reading import Attribute
    from mz_orchestration.pipelines.planning import Plan

_SYSTEMS: dict[str, type[ConfigurableResource[Any]]] = {
    "materialize": MaterializeResource,
    "object_store": ObjectStoreResource,
    "snowflake": SnowflakeResource,
    "census": CensusResource,
}


class PlanComponent(AttributesComponent):
    """A component whose assets are those of a pipeline.

    Override `get_asset_spec` to change what an asset is like, and `build_assets` to change what makes it.
    """

    materialize: MaterializeResource | None = Field(
        default=None,
        description="How to reach Materialize. Left out: the project's resource 'materialize'.",
        repr=False,
    )
    object_store: ObjectStoreResource | None = Field(
        default=None,
        description="How to reach the object store. Left out: the project's resource 'object_store'.",
        repr=False,
    )
    snowflake: SnowflakeResource | None = Field(
        default=None,
        description="How to sign in to Snowflake. Left out: the project's resource 'snowflake'.",
        repr=False,
    )
    census: CensusResource | None = Field(
        default=None, description="How to sign in at Census. Left out: the project's resource 'census'.", repr=False
    )
    resources: Literal["project", "environment"] = Field(
        default="project",
        description="Where the settings of systems come from that are left out above: 'project' for the project's "
        "resources of these names, 'environment' for the variables that the command line reads (PGHOST, AWS_PROFILE, "
        "SNOWFLAKE_ACCOUNT, CENSUS_TOKEN and so on).",
    )
    schedule: Schedule | None = Field(default=None, description="When all of it runs, in one job.")
    freshness: FreshnessPolicy | None = Field(
        default=None, description="How old what an asset holds may be before Dagster calls it stale."
    )
    automation_condition: AutomationCondition[Any] | None = Field(
        default=None, description=DagsterAttributes.model_fields["automation_condition"].description
    )
    translation: TranslationFn[Any] | None = Field(
        default=None, description=DagsterAttributes.model_fields["translation"].description
    )
    source_translation: TranslationFn[Any] | None = Field(
        default=None,
        description="The same for the objects in Materialize that exports read, for example to let an export follow "
        "the asset of a dbt model: key: \"{{ props.object.split('.')[-1] }}\".",
    )
    partitions_def: PartitionsDefinition | None = Field(
        default=None, description="Partitions of time for the exports; they name when an export was made."
    )
    allow_backfill: bool = Field(
        default=False,
        description="Whether partitions of the past may be exported, although what is exported is always of now.",
    )
    pool: str | None = Field(
        default=None,
        description="Pool that bounds how many steps run at a time. By default exports share one for each cluster, "
        "materialize_<cluster>.",
    )

    completion_sensor: bool = Field(
        default=False,
        description="A sensor, stopped until somebody starts it, for these exports made elsewhere: by cron or Airflow, "
        "by hand. It tells of each that has completed, and has it loaded.",
    )

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """How the fields stand in YAML; not until a component is used, so that importing it costs little."""
        from mz_orchestration.dagster.components import reading

        return {
            **{name: reading.resource(model) for name, model in _SYSTEMS.items()},
            "resources": reading.plain(Literal["project", "environment"]),
            **reading.dagster_attributes(),
            "source_translation": reading.translation(),
            "partitions_def": reading.partitions(),
            "allow_backfill": reading.plain(bool),
            "pool": reading.plain(str | None),
            "completion_sensor": reading.plain(bool),
        }

    @abstractmethod
    def plan(self, context: ComponentLoadContext) -> Plan:
        """What the component does.

        Args:
            context: Where it stands.

        Raises:
            ConfigurationError: It cannot be done, with the file and line.
        """

    def entry(self, props: Props) -> tuple[Place, Entry] | None:
        """What the component says of an asset by itself, and where.

        Args:
            props: What the asset stands for.
        """
        return None

    def scheduled(self, keys: Mapping[str, AssetKey]) -> Iterable[tuple[Schedule, AssetKey]]:
        """The assets with schedules of their own.

        Args:
            keys: Of all assets, by the names of their nodes.
        """
        return ()

    def get_asset_spec(self, props: Props) -> AssetSpec:
        """The asset that stands for an export, a load, a sync, retention, or an object that is exported.

        Start from what this returns, and change what you like:

        .. code-block:: python

            class Ours(MaterializeExportComponent):
                def get_asset_spec(self, props):
                    return super().get_asset_spec(props).merge_attributes(tags={"domain": "sales"})

        Args:
            props: What it stands for.
        """
        spec = DagsterMaterializeTranslator.get_asset_spec(ComponentTranslator(self), props)
        if isinstance(props, ObjectProps):
            return self.source_translation(spec, props) if self.source_translation is not None else spec
        _, entry = self.entry(props) or ((), None)
        condition = self.automation_condition
        freshness = None if isinstance(props, RetentionProps) else self.freshness
        translations = [self.translation]
        if entry is not None:
            condition, freshness = entry.automation_condition or condition, entry.freshness or freshness
            translations.append(entry.translation)
        if condition is not None:
            spec = spec.replace_attributes(automation_condition=condition)
        if freshness is not None:
            spec = spec.replace_attributes(freshness_policy=freshness)
        for translate in translations:
            spec = translate(spec, props) if translate is not None else spec
        return without_waiting_for_objects(spec) if isinstance(props, ExportProps) else spec

    def build_assets(self, plan: Plan) -> Sequence[AssetsDefinition]:
        """The assets and checks of a plan.

        Args:
            plan: What `plan` returned.
        """
        return plan_assets(
            plan,
            translator=ComponentTranslator(self),
            resources=self._resources(),
            partitions_def=self.partitions_def,
            allow_backfill=self.allow_backfill,
            pool=self.pool,
        )

    def build_sensors(self, plan: Plan, specs: Mapping[str, AssetSpec]) -> Sequence[SensorDefinition]:
        """The sensors of a plan.

        Args:
            plan: What `plan` returned.
            specs: All assets, by the names of their nodes.
        """
        if not self.completion_sensor:
            return ()
        from mz_orchestration.dagster.components.sensors import completion_sensors

        return completion_sensors(plan, specs, self._resources().object_store)

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """Assets, checks, schedules and sensors; contacts nothing.

        Args:
            context: Where the component stands.

        Raises:
            ConfigurationError: Something is wrong with the attributes: every finding, with its line.
        """
        from mz_orchestration.dagster.components.schedules import build_schedules

        plan, translator = self.plan(context), ComponentTranslator(self)
        try:
            specs = plan_specs(plan, translator=translator)
            keys = {name: spec.key for name, spec in specs.items()}
            if collisions := translator.collisions():
                raise FindingsError(self._source.finding(place, text) for place, text in collisions)
            made = self.build_assets(plan)
            assets = [each for each in made if not isinstance(each, AssetChecksDefinition)]
            schedules = build_schedules(plan.spec.name, self.scheduled(keys), self.schedule, assets)
            sensors = self.build_sensors(plan, specs)
        except FindingsError as error:
            raise self._source.refused(error.findings) from None
        except ConfigurationError as error:
            raise self._placed(error) from None
        return Definitions(
            assets=assets,
            asset_checks=[each for each in made if isinstance(each, AssetChecksDefinition)],
            schedules=schedules,
            sensors=sensors,
        )

    def _resources(self) -> BoundResources:
        given = {name: getattr(self, name) for name in _SYSTEMS}
        if self.resources == "environment":
            given = {name: given[name] or model() for name, model in _SYSTEMS.items()}
        return BoundResources(**given)
