"""A job for exports that are wanted once: what to export is typed into the launchpad."""

# Annotations are not postponed: Dagster reads those of the function inside the builder as they are.
from typing import Any

from dagster import AssetMaterialization, Config, JobDefinition, OpExecutionContext, job, op
from pydantic import Field

from mz_orchestration.dagster.errors import as_dagster_errors
from mz_orchestration.dagster.keys import cluster_pool, logical_run
from mz_orchestration.dagster.metadata import data_version, export_metadata
from mz_orchestration.dagster.resources import BoundResources
from mz_orchestration.dagster.translator import DagsterMaterializeTranslator, ExportProps

_NEEDED = frozenset({"materialize", "object_store"})


class OneOffExport(Config):
    """What to export, once."""

    object: str = Field(description="Table, source, view or materialized view; with a query, a name for the export.")
    to: str = Field(description="Folder below which the export gets a path of its own: s3://bucket/folder/.")
    connection: str = Field(description="Materialize's AWS connection.")
    query: str | None = Field(default=None, description="A SELECT to export in place of the object.")
    format: str = Field(default="parquet", description="parquet or csv.")
    cluster: str | None = Field(default=None, description="Cluster to run on; the connection's own by default.")
    casts: dict[str, str] = Field(default={}, description="SQL types to cast columns to, by column.")
    max_file_size: str = Field(default="256MB", description="16MB to 4GB.")
    timeout: float = Field(default=6 * 3600.0, description="Seconds the COPY may take before it is cancelled.")
    run_key: str | None = Field(default=None, description="Names the logical run; the Dagster run's id if left out.")


def build_export_job(
    name: str = "export_once",
    *,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
) -> JobDefinition:
    """A job that exports what is typed into the launchpad, and tells of it as a materialization.

    Args:
        name: Of the job.
        translator: Says which asset an export is a materialization of.
        resources: Resources of this job's own, in place of the code location's.
    """
    bound = resources or BoundResources()
    keys = translator or DagsterMaterializeTranslator()

    @op(name=f"{name}_op", required_resource_keys=bound.keys(_NEEDED), pool=cluster_pool(None))
    def export(context: OpExecutionContext, config: OneOffExport) -> None:
        from mz_orchestration.exports.export import arun_export
        from mz_orchestration.exports.spec import export_spec
        from mz_orchestration.flow import run_coroutine

        with as_dagster_errors(context):
            fields: dict[str, Any] = {each: getattr(config, each) for each in type(config).model_fields}
            run_key = fields.pop("run_key") or logical_run(context)
            spec = export_spec(**fields)
            tools = bound.tools(context, _NEEDED)
            work = arun_export(
                spec, run_key=run_key, materialize=tools.materialize, store=tools.store, on_event=tools.on_event
            )
            result = run_coroutine(work)
        context.log_event(
            AssetMaterialization(
                keys.get_asset_spec(ExportProps.of(spec)).key,
                metadata=export_metadata(result),
                tags={"dagster/data_version": data_version(result.manifest).value},
            )
        )

    @job(name=name, description="Exports what is typed into the launchpad.")
    def once() -> None:
        export()

    return once
