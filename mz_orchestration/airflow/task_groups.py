"""A group of tasks that people would otherwise put together by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import TaskGroup

from mz_orchestration.airflow.operators.census import CensusSyncOperator
from mz_orchestration.airflow.operators.delete_export import MaterializeDeleteExportOperator
from mz_orchestration.airflow.transfers.export_to_snowflake import MaterializeExportToSnowflakeOperator
from mz_orchestration.airflow.transfers.materialize_to_s3 import MaterializeToS3Operator
from mz_orchestration.errors import ConfigurationError


def export_load_sync(
    group_id: str,
    *,
    export: Mapping[str, Any],
    load: Mapping[str, Any],
    sync: Mapping[str, Any] | None = None,
    clean_up: bool = True,
    **task_arguments: Any,
) -> TaskGroup:
    """
    Make a group of tasks: ``export``, ``load``, ``sync`` if one is given, and ``clean_up``.

    The export is the setup and the clean-up its teardown: the files go whether or not they could be loaded, and a
    clean-up that fails does not fail the DAG run. Clearing the load clears the export with it, which exports anew.

    :param group_id: the group's name, which the tasks' ids begin with.
    :param export: arguments of :class:`MaterializeToS3Operator`.
    :param load: arguments of :class:`MaterializeExportToSnowflakeOperator` but for the manifest.
    :param sync: arguments of :class:`CensusSyncOperator`.
    :param clean_up: delete the files in the end.
    :param task_arguments: arguments of all tasks that take them, such as ``aws_conn_id``, ``retries`` or
        ``deferrable``.
    :return: the group, for dependencies on it.
    :raises ConfigurationError: with ``clean_up``, the load is to append: cleared, the group would append once more.
    """
    if clean_up and load.get("strategy") == "append":
        raise ConfigurationError(
            f"The group {group_id!r} appends and cleans up: cleared, it would export anew and append the rows twice.",
            hint="Set clean_up=False, or use another strategy.",
        )
    with TaskGroup(group_id, default_args=dict(task_arguments)) as group:  # type: ignore[arg-type]
        exported = MaterializeToS3Operator(task_id="export", **export)
        manifest = f"{{{{ (ti.xcom_pull(task_ids='{exported.task_id}') or {{}}).get('manifest', '') }}}}"
        last: Any = MaterializeExportToSnowflakeOperator(task_id="load", **{**load, "manifest": manifest})
        exported >> last
        if sync is not None:
            synced = CensusSyncOperator(task_id="sync", **sync)
            last >> synced
            last = synced
        if clean_up:
            deleted = MaterializeDeleteExportOperator(task_id="clean_up", manifest=manifest)
            last >> deleted.as_teardown(setups=exported)
    return group
