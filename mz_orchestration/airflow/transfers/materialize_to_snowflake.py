"""From Materialize into a Snowflake table, verified and reconciled."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset, BaseOperator

from mz_orchestration.airflow.exceptions import TaskKilledError, as_airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from mz_orchestration.progress import Event


class MaterializeToSnowflakeOperator(BaseOperator):
    """
    Export an object or a query to the object store, verify it, and replace a Snowflake table's content with it.

    Safe to retry: the retry returns what is finished, picks up what the earlier try left behind, or starts a new
    attempt in a path of its own. The table is published atomically, and only if the rows copied, the rows in the files
    and the rows loaded agree. Clearing a task that has succeeded returns its result again; give another ``run_key`` to
    export anew.

    :param object: table, source, view or materialized view; with ``query`` it only names the export. (templated)
    :param to: folder below which every run gets a path of its own, ``s3://bucket/folder/``. (templated)
    :param connection: Materialize's AWS connection. (templated)
    :param stage: external stage in Snowflake that covers the folder. (templated)
    :param table: table in Snowflake; made if it does not exist. (templated)
    :param query: a SELECT to export in place of the object, or the name of a ``.sql`` file. (templated)
    :param format: ``parquet`` or ``csv``. (templated)
    :param csv: options for CSV: ``delimiter``, ``null``, ``quote``, ``escape``, ``header``. (templated)
    :param cluster: cluster the export runs on. (templated)
    :param max_file_size: 16MB to 4GB. (templated)
    :param export_timeout: seconds until the COPY is cancelled. (templated)
    :param load_timeout: seconds until a COPY INTO is aborted. (templated)
    :param run_key: names the logical run; ``dag_id/run_id/task_id/map_index`` by default. (templated)
    :param materialize_conn_id: connection to Materialize. (templated)
    :param aws_conn_id: connection to the object store; None leaves it to boto3. (templated)
    :param snowflake_conn_id: connection to Snowflake. (templated)
    :return: counts and places of both steps, as a small dictionary.
    """

    template_fields: Sequence[str] = (
        "object",
        "to",
        "connection",
        "stage",
        "table",
        "query",
        "format",
        "csv",
        "cluster",
        "max_file_size",
        "export_timeout",
        "load_timeout",
        "run_key",
        "materialize_conn_id",
        "aws_conn_id",
        "snowflake_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "csv": "json"}
    ui_color = "#e6e0ff"

    # The thread in which on_kill may interrupt the work, while there is any.
    _working_in: int | None = None

    def __init__(
        self,
        *,
        object: str,
        to: str,
        connection: str,
        stage: str,
        table: str,
        query: str | None = None,
        format: str = "parquet",
        csv: dict[str, Any] | str | None = None,
        cluster: str | None = None,
        max_file_size: str = "256MB",
        export_timeout: float | str = 6 * 3600,
        load_timeout: float | str = 6 * 3600,
        run_key: str | None = None,
        materialize_conn_id: str = "materialize_default",
        aws_conn_id: str | None = "aws_default",
        snowflake_conn_id: str = "snowflake_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.object = object
        self.to = to
        self.connection = connection
        self.stage = stage
        self.table = table
        self.query = query
        self.format = format
        self.csv = csv
        self.cluster = cluster
        self.max_file_size = max_file_size
        self.export_timeout = export_timeout
        self.load_timeout = load_timeout
        self.run_key = run_key
        self.materialize_conn_id = materialize_conn_id
        self.aws_conn_id = aws_conn_id
        self.snowflake_conn_id = snowflake_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Export, verify, load."""
        # The connector tells of every request it makes.
        logging.getLogger("snowflake.connector").setLevel(logging.WARNING)
        self._working_in = threading.get_ident()
        try:
            with as_airflow_errors():
                result = self._export_and_load(self._run_key(context))
        finally:
            self._working_in = None
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(result)
        return result

    def on_kill(self) -> None:
        """
        Cancel what is running in Materialize or Snowflake.

        Airflow calls this from the signal handler in the thread that runs ``execute`` and then kills the process,
        without interrupting ``execute``; raising here does, and the interrupted wait cancels its statement on the way
        out.
        """
        if self._working_in == threading.get_ident():
            # Once: a second signal must not interrupt the cancelling.
            self._working_in = None
            raise TaskKilledError("The task was killed; its statement is being cancelled.")

    def _export_and_load(self, run_key: str) -> dict[str, Any]:
        from mz_orchestration.airflow import connections
        from mz_orchestration.exports.export import run_export
        from mz_orchestration.exports.spec import export_spec
        from mz_orchestration.objectstore.client import ObjectStore
        from mz_orchestration.snowflake.load import run_load
        from mz_orchestration.snowflake.session import require_connector
        from mz_orchestration.snowflake.spec import load_spec

        spec = export_spec(
            object=self.object,
            to=self.to,
            connection=self.connection,
            query=self.query or None,
            format=self.format,
            csv=json.loads(self.csv) if isinstance(self.csv, str) and self.csv else self.csv or {},
            cluster=self.cluster or None,
            max_file_size=self.max_file_size,
            timeout=self.export_timeout,
        )
        target = {"stage": self.stage, "table": self.table, "timeout": self.load_timeout}
        # Before the export, so that a mistake in what follows it does not cost one.
        load_spec(manifest=spec.to, **target)
        require_connector()
        snowflake = connections.snowflake_config(connections.get_connection(self.snowflake_conn_id))
        snowflake.connect_arguments()
        materialize = connections.materialize_config(connections.get_connection(self.materialize_conn_id))
        store = ObjectStore(
            connections.object_store_config(connections.get_connection(self.aws_conn_id)) if self.aws_conn_id else None
        )
        export = run_export(spec, run_key=run_key, materialize=materialize, store=store, on_event=self._log_event)
        load = run_load(
            load_spec(manifest=export.manifest_url, **target),
            snowflake=snowflake,
            store=store,
            on_event=self._log_event,
        )
        return {"export": export.to_metadata(), "load": load.to_metadata()}

    def _run_key(self, context: Context) -> str:
        if self.run_key:
            return self.run_key
        ti = context["ti"]
        return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"

    def _log_event(self, event: Event) -> None:
        self.log.info("%s", event.line())
