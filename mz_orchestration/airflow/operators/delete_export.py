"""Deleting exported files once they have been loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from mz_orchestration.airflow.exceptions import as_airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context


class MaterializeDeleteExportOperator(BaseOperator):
    """
    Delete the files of one export, and nothing else; the teardown of a group of tasks that loads them.

    Refuses anything that is not an export's manifest, and waits for loads that are in progress by its ``retries``.

    :param manifest: the manifest's URL, as the export returned it. (templated)
    :param aws_conn_id: connection to the object store; None leaves it to boto3. (templated)
    :return: path, files and bytes of what was deleted.
    """

    template_fields: Sequence[str] = ("manifest", "aws_conn_id")
    ui_color = "#e6e0ff"

    def __init__(self, *, manifest: str, aws_conn_id: str | None = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the manifest, then the files."""
        from mz_orchestration.airflow.connections import resolve
        from mz_orchestration.exports.delete import delete_export
        from mz_orchestration.objectstore.location import parse_location

        with as_airflow_errors():
            at = parse_location(str(self.manifest or ""), field="manifest")
            deleted = delete_export(at, resolve({"aws": self.aws_conn_id}).store())
        self.log.info("Deleted %d files, %d bytes, from %s", deleted.files, deleted.bytes, deleted.path)
        return dict(deleted.to_metadata())
