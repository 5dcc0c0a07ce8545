"""From Materialize into a Snowflake table, verified and reconciled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseOperatorLink

from mz_orchestration.airflow.links import ExportFolderLink, MaterializeConsoleLink, SnowflakeQueryLink
from mz_orchestration.airflow.transfers.materialize_to_s3 import MaterializeToS3Operator
from mz_orchestration.airflow.transfers.snowflake_target import TARGET_FIELDS, SnowflakeTarget

if TYPE_CHECKING:
    from mz_orchestration.airflow.jobs.base import Job


class MaterializeToSnowflakeOperator(SnowflakeTarget, MaterializeToS3Operator):
    """
    Export an object or a query to the object store, verify it, and load it into a Snowflake table.

    Safe to retry: the retry returns what is finished, picks up what the earlier try left behind, or starts a new
    attempt in a path of its own. The table is published atomically, and only if the rows copied, the rows in the files
    and the rows loaded agree. Clearing a task that has succeeded returns its result again; see ``on_clear``.

    The arguments are those of
    :class:`~mz_orchestration.airflow.transfers.materialize_to_s3.MaterializeToS3Operator` and
    :class:`~mz_orchestration.airflow.transfers.snowflake_target.SnowflakeTarget`.

    :return: counts and places of both steps, as a small dictionary.
    """

    template_fields: Sequence[str] = (*MaterializeToS3Operator.template_fields, *TARGET_FIELDS)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **MaterializeToS3Operator.template_fields_renderers,
        "keys": "json",
    }
    operator_extra_links: Collection[BaseOperatorLink] = (
        MaterializeConsoleLink(),
        ExportFolderLink(),
        SnowflakeQueryLink(),
    )

    def job(self, run_key: str) -> Job:
        """Return the export and the load."""
        from mz_orchestration.airflow.jobs.transfer import TransferJob

        return TransferJob(self.export_job(run_key), self.target(), self.snowflake_conn_id)
