"""From a manifest that an export wrote into a Snowflake table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

from mz_orchestration.airflow.links import SnowflakeQueryLink
from mz_orchestration.airflow.transfers.snowflake_target import TARGET_FIELDS, SnowflakeTarget

if TYPE_CHECKING:
    from mz_orchestration.airflow.jobs.base import Job


class MaterializeExportToSnowflakeOperator(SnowflakeTarget):
    """
    Load the files that a manifest lists into a Snowflake table, and publish them only if the counts agree.

    Safe to retry, and to run twice: what the table has had is not loaded again. The other arguments are those of
    :class:`~mz_orchestration.airflow.transfers.snowflake_target.SnowflakeTarget`.

    :param manifest: the manifest's URL, as an export returns it, ``s3://bucket/.../_manifest.json``; or an export's
        ``.../_latest.json``. (templated)
    :param aws_conn_id: connection to the object store; None leaves it to boto3. (templated)
    :return: counts and places, as a small dictionary.
    """

    template_fields: Sequence[str] = ("manifest", *TARGET_FIELDS, "aws_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"keys": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = (SnowflakeQueryLink(),)
    reads_the_present: ClassVar[bool] = False
    # The manifest names its run.
    runs_again: ClassVar[bool] = False

    def __init__(self, *, manifest: str, aws_conn_id: str | None = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.aws_conn_id = aws_conn_id

    def job(self, run_key: str) -> Job:
        """Return the load; it is found again by the manifest's own run key."""
        from mz_orchestration.airflow.jobs.load import LoadJob

        return LoadJob({**self.target(), "manifest": self.manifest}, self.snowflake_conn_id, self.aws_conn_id)
