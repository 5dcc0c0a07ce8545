"""From Materialize into the object store, verified."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

from mz_orchestration.airflow.links import ExportFolderLink, MaterializeConsoleLink
from mz_orchestration.airflow.operators.base import MaterializeJobOperator

if TYPE_CHECKING:
    from mz_orchestration.airflow.jobs.base import Job
    from mz_orchestration.airflow.jobs.export import ExportJob


class MaterializeToS3Operator(MaterializeJobOperator):
    """
    Export an object or a query to the object store, verify the files, and write a manifest beside them.

    Safe to retry: the retry returns what is finished, picks up what the earlier try left behind, or starts a new
    attempt in a path of its own. The task succeeds only if the rows that Materialize copied are those in the files.

    :param object: table, source, view or materialized view; with ``query`` it only names the export. (templated)
    :param to: folder below which every run gets a path of its own, ``s3://bucket/folder/``. (templated)
    :param connection: Materialize's AWS connection. (templated)
    :param query: a SELECT to export in place of the object, or the name of a ``.sql`` file. (templated)
    :param format: ``parquet`` or ``csv``. (templated)
    :param csv: options for CSV: ``delimiter``, ``null``, ``quote``, ``escape``, ``header``. (templated)
    :param cluster: cluster the export runs on. (templated)
    :param max_file_size: 16MB to 4GB. (templated)
    :param safe_types: cast columns whose meaning the file format would lose. (templated)
    :param casts: SQL types to cast columns to, by column name. (templated)
    :param export_timeout: seconds until the COPY is cancelled. (templated)
    :param verify: how closely the files are looked at: ``listing``, ``footers`` or ``full``. (templated)
    :param count: count the rows at the export's own timestamp first, to compare with. (templated)
    :param statistics: ask for statistics of every column at that timestamp, to compare with. (templated)
    :param if_running: while another run of the same export is in progress: ``wait``, ``skip`` or ``fail``; None looks
        at this run's own earlier attempts only. (templated)
    :param left_behind: of a COPY that an earlier try left running: ``wait``, ``cancel`` or ``leave``. (templated)
    :param run_key: names the logical run; ``dag_id/run_id/task_id/map_index`` by default. (templated)
    :param on_clear: when a task that has succeeded is cleared: ``return`` its finished run, or export ``again``, which
        takes Airflow 3.3.
    :param allow_backfill: run in a backfill, too, although what is exported is always what is there *now*.
    :param deferrable: run in the triggerer, holding no worker.
    :param materialize_conn_id: connection to Materialize. (templated)
    :param aws_conn_id: connection to the object store; None leaves it to boto3. (templated)
    :return: counts and places, as a small dictionary.
    """

    template_fields: Sequence[str] = (
        "object",
        "to",
        "connection",
        "query",
        "format",
        "csv",
        "cluster",
        "max_file_size",
        "safe_types",
        "casts",
        "export_timeout",
        "verify",
        "count",
        "statistics",
        "if_running",
        "left_behind",
        "run_key",
        "materialize_conn_id",
        "aws_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "csv": "json", "casts": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = (MaterializeConsoleLink(), ExportFolderLink())

    def __init__(
        self,
        *,
        object: str,
        to: str,
        connection: str,
        query: str | None = None,
        format: str = "parquet",
        csv: dict[str, Any] | str | None = None,
        cluster: str | None = None,
        max_file_size: str = "256MB",
        safe_types: bool | str = True,
        casts: dict[str, str] | str | None = None,
        export_timeout: float | str = 6 * 3600,
        verify: str = "footers",
        count: bool | str = False,
        statistics: bool | str = False,
        if_running: str | None = None,
        left_behind: str = "wait",
        materialize_conn_id: str = "materialize_default",
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.object = object
        self.to = to
        self.connection = connection
        self.query = query
        self.format = format
        self.csv = csv
        self.cluster = cluster
        self.max_file_size = max_file_size
        self.safe_types = safe_types
        self.casts = casts
        self.export_timeout = export_timeout
        self.verify = verify
        self.count = count
        self.statistics = statistics
        self.if_running = if_running
        self.left_behind = left_behind
        self.materialize_conn_id = materialize_conn_id
        self.aws_conn_id = aws_conn_id

    def job(self, run_key: str) -> Job:
        """Return the export."""
        return self.export_job(run_key)

    def export_job(self, run_key: str) -> ExportJob:
        """Return the export, for operators that go on with it."""
        from mz_orchestration.airflow.jobs.export import ExportJob

        spec = {
            "object": self.object,
            "to": self.to,
            "connection": self.connection,
            "query": self.query or None,
            "format": self.format,
            "csv": from_json(self.csv, field="csv"),
            "cluster": self.cluster or None,
            "max_file_size": self.max_file_size,
            "safe_types": self.safe_types,
            "casts": from_json(self.casts, field="casts"),
            "timeout": self.export_timeout,
        }
        policy = {
            "verify": self.verify,
            "count": self.count,
            "statistics": self.statistics,
            "if_running": self.if_running or None,
            "left_behind": self.left_behind,
        }
        return ExportJob(spec, run_key, policy, self.materialize_conn_id, self.aws_conn_id)


def from_json(value: dict[str, Any] | str | None, *, field: str) -> dict[str, Any]:
    """A mapping that an author or a template gives, as such or as JSON.

    :param value: the mapping; empty stands for none.
    :param field: the argument, named in errors.
    :raises ConfigurationError: it is no JSON object.
    """
    if not isinstance(value, str):
        return value or {}
    try:
        read = json.loads(value or "{}")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        from mz_orchestration.errors import ConfigurationError

        raise ConfigurationError(f"{field}: {value!r} is not a JSON object.", hint='Write it like {"name": "value"}.')
    return read
