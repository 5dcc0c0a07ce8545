"""The component of a pipeline file: in Dagster, what cron and Airflow run from the very same file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ComponentLoadContext, scaffold_with
from pydantic import Field

from mz_orchestration.dagster.components.base import PlanComponent
from mz_orchestration.dagster.components.compat import component_folder
from mz_orchestration.dagster.components.scaffolder import PipelineScaffolder

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.reading import Attribute
    from mz_orchestration.pipelines.planning import Plan


@scaffold_with(PipelineScaffolder)
class MaterializePipelineComponent(PlanComponent):
    """Exports, checks, loads and syncs of a pipeline file, the one that cron and Airflow run, as assets.

    The file's ``${NAME}`` come from the environment, as everywhere. Its notifications are the command line's: use
    Dagster's own.
    """

    path: str = Field(description="The pipeline file, from the folder of this defs.yaml.")

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """How the fields stand in YAML."""
        from mz_orchestration.dagster.components import reading

        return {"path": reading.plain(str), **super().attributes()}

    def plan(self, context: ComponentLoadContext) -> Plan:
        """The pipeline of the file.

        Args:
            context: Where the component stands.

        Raises:
            ConfigurationError: The file has mistakes; each is named with its line.
        """
        from mz_orchestration.pipelines.reading import read_pipeline

        return read_pipeline((component_folder(context) or Path()) / self.path)
