"""The component of exports, loads and syncs that are described in ``defs.yaml`` itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, ComponentLoadContext, scaffold_with
from pydantic import Field, ValidationError

from mz_orchestration.dagster.components.base import PlanComponent
from mz_orchestration.dagster.components.compat import component_folder, component_number
from mz_orchestration.dagster.components.models import (
    Entry,
    ExportEntry,
    LoadEntry,
    Schedule,
    SyncEntry,
    as_written,
)
from mz_orchestration.dagster.components.scaffolder import ExportScaffolder
from mz_orchestration.dagster.keys import plain_name
from mz_orchestration.dagster.translator import ExportProps, LoadProps, Props, SyncProps
from mz_orchestration.pipelines.document import Place
from mz_orchestration.pipelines.spec import Defaults, RetentionSpec

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.reading import Attribute
    from mz_orchestration.pipelines.planning import Plan

_LONGEST_NAME = 64


@scaffold_with(ExportScaffolder)
class MaterializeExportComponent(PlanComponent):
    """Exports from Materialize to an object store, verified, with loads into Snowflake and runs of Census syncs.

    Each becomes an asset, with checks that block what comes after it: rows copied, rows in the files and rows loaded
    must be the same number. The attributes are those of a pipeline file, and what is Dagster's own: schedules,
    freshness, automation and translation, of all assets or of a single one.
    """

    name: str | None = Field(
        default=None,
        description="Names the group of the assets, the jobs and the records of runs: letters, digits, - and _. The "
        "folder of this defs.yaml by default.",
    )
    defaults: Defaults = Field(
        description="What goes for every export and load that does not say otherwise; 'to' is needed."
    )
    exports: tuple[ExportEntry, ...] = Field(default=(), description="What is exported.")
    loads: tuple[LoadEntry, ...] = Field(default=(), description="Which exports go into which tables.")
    syncs: tuple[SyncEntry, ...] = Field(default=(), description="Which Census syncs run.")
    retention: RetentionSpec | None = Field(
        default=None, description="Which export files of earlier runs stay; all of them if left out."
    )

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """How the fields stand in YAML."""
        from mz_orchestration.dagster.components import reading

        return {
            "name": reading.plain(str | None),
            "defaults": reading.of_model(Defaults),
            "exports": reading.entries(ExportEntry),
            "loads": reading.entries(LoadEntry),
            "syncs": reading.entries(SyncEntry),
            "retention": reading.of_model(RetentionSpec),
            **super().attributes(),
        }

    def plan(self, context: ComponentLoadContext) -> Plan:
        """What the attributes come to, planned as a pipeline file is.

        Args:
            context: Where the component stands.

        Raises:
            ConfigurationError: Something is wrong with them: every finding, with its line.
        """
        from mz_orchestration.pipelines.planning import plan_pipeline
        from mz_orchestration.pipelines.spec import PipelineSpec

        parts: dict[str, Any] = {
            "name": self.name or default_name(context),
            "defaults": self.defaults,
            "exports": [as_written(each) for each in self.exports],
            "loads": [as_written(each) for each in self.loads],
            "syncs": [as_written(each) for each in self.syncs],
            "retention": self.retention,
        }
        try:
            return plan_pipeline(PipelineSpec.model_validate(parts))
        except ValidationError as error:
            raise self._source.refused(self._source.findings(error)) from None

    def entry(self, props: Props) -> tuple[Place, Entry] | None:
        """The item of `exports`, `loads` or `syncs` that an asset stands for, and where it stands.

        Args:
            props: What the asset stands for.
        """
        kinds: dict[type[Props], tuple[str, Sequence[Entry]]] = {
            ExportProps: ("exports", self.exports),
            LoadProps: ("loads", self.loads),
            SyncProps: ("syncs", self.syncs),
        }
        kind, entries = kinds.get(type(props), ("", ()))
        found = (((kind, i), entry) for i, entry in enumerate(entries) if entry.item == getattr(props, "name", None))
        return next(found, None)

    def scheduled(self, keys: Mapping[str, AssetKey]) -> Iterable[tuple[Schedule, AssetKey]]:
        """The assets with schedules of their own.

        Args:
            keys: Of all assets, by the names of their nodes.
        """
        kinds: list[tuple[str, Iterable[Entry]]] = [
            ("export", self.exports), ("load", self.loads), ("sync", self.syncs),
        ]  # fmt: skip
        for kind, entries in kinds:
            for entry in entries:
                # A sync may be called "sync 12" already.
                name = entry.item if kind == "sync" and entry.item.startswith("sync ") else f"{kind} {entry.item}"
                if entry.schedule is not None:
                    yield entry.schedule, keys[name]


def default_name(context: ComponentLoadContext) -> str:
    """The name of a component that was given none: that of its folder, with a number where that holds several.

    Args:
        context: Where it stands.
    """
    folder = component_folder(context)
    number = component_number(context)
    # Of several components in one file each needs a name of its own.
    name = plain_name(folder.name if folder is not None else "exports") + (f"_{number + 1}" if number else "")
    return name[-_LONGEST_NAME:]
