"""The arguments of operators that load into Snowflake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mz_orchestration.airflow.operators.base import MaterializeJobOperator

TARGET_FIELDS: Sequence[str] = (
    "stage",
    "table",
    "strategy",
    "layout",
    "keys",
    "delete_missing",
    "clear_by",
    "lineage",
    "schema_changes",
    "checks",
    "load_timeout",
    "again",
    "snowflake_conn_id",
)


class SnowflakeTarget(MaterializeJobOperator):
    """
    Load into a Snowflake table; operators say from where.

    :param stage: external stage in Snowflake that covers the folder. (templated)
    :param table: table in Snowflake; made if it does not exist. (templated)
    :param strategy: ``swap``, ``overwrite``, ``transaction``, ``append`` or ``merge``. (templated)
    :param layout: ``columns`` as exported, or one ``variant`` column. (templated)
    :param keys: columns that identify a row, for ``merge``; a list, or separated by commas. (templated)
    :param delete_missing: with ``merge``, delete rows whose key is not in the export. (templated)
    :param clear_by: with ``transaction``, how the table is emptied: ``delete`` or ``truncate``. (templated)
    :param lineage: add columns that say where each row came from; None means for ``append`` only. (templated)
    :param schema_changes: where the table lacks columns of the export: ``fail`` or ``add_columns``. (templated)
    :param checks: what is compared beside the counts: ``none`` or ``columns``. (templated)
    :param load_timeout: seconds until a long statement is aborted. (templated)
    :param again: load even if the table has had this export before. (templated)
    :param snowflake_conn_id: connection to Snowflake. (templated)
    """

    def __init__(
        self,
        *,
        stage: str,
        table: str,
        strategy: str = "swap",
        layout: str = "columns",
        keys: Sequence[str] | str | None = (),
        delete_missing: bool | str = False,
        clear_by: str = "delete",
        lineage: bool | str | None = None,
        schema_changes: str = "fail",
        checks: str = "none",
        load_timeout: float | str = 6 * 3600,
        again: bool | str = False,
        snowflake_conn_id: str = "snowflake_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.table = table
        self.strategy = strategy
        self.layout = layout
        self.keys = keys
        self.delete_missing = delete_missing
        self.clear_by = clear_by
        self.lineage = lineage
        self.schema_changes = schema_changes
        self.checks = checks
        self.load_timeout = load_timeout
        self.again = again
        self.snowflake_conn_id = snowflake_conn_id

    def target(self) -> dict[str, Any]:
        """Return the fields of a ``LoadSpec`` but for the manifest."""
        return {
            "stage": self.stage,
            "table": self.table,
            "strategy": self.strategy,
            "layout": self.layout,
            "keys": self.keys if isinstance(self.keys, str) else list(self.keys or ()),
            "delete_missing": self.delete_missing,
            "clear": self.clear_by,
            "lineage": None if self.lineage in (None, "") else self.lineage,
            "schema_changes": self.schema_changes,
            "checks": self.checks,
            "timeout": self.load_timeout,
            "again": self.again,
        }
