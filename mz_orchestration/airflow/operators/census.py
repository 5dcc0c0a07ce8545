"""Runs of Census syncs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

from mz_orchestration.airflow.links import CensusSyncLink
from mz_orchestration.airflow.operators.base import MaterializeJobOperator

if TYPE_CHECKING:
    from mz_orchestration.airflow.jobs.base import Job


class CensusSyncOperator(MaterializeJobOperator):
    """
    Trigger a Census sync, once, and wait until its run has ended well.

    With ``at``, a retry goes on waiting for the run that the earlier try triggered, and the task may be deferred;
    without it nothing is written down, a retry triggers another run, and the task stays in the worker.

    :param sync: id of the sync, the number in its address. (templated)
    :param at: folder of the object store that holds the records, ``s3://bucket/folder/``. (templated)
    :param on_overlap: while another run of the sync is active: ``wait`` for it and then trigger, ``attach`` to it, or
        ``fail``. (templated)
    :param on_cancelled: of a run that somebody cancels in Census: ``fail``, or ``accept`` it. (templated)
    :param full: send all records, not only what changed. (templated)
    :param max_failed: records the destination may reject; none by default. (templated)
    :param max_failed_ratio: rejected records by records processed, 0 to 1. (templated)
    :param max_invalid: records of the source that may be invalid; none by default. (templated)
    :param max_invalid_ratio: invalid records by records of the source, 0 to 1. (templated)
    :param sync_timeout: seconds the run may take, with the wait for another; then it is cancelled. (templated)
    :param run_key: names the logical run; ``dag_id/run_id/task_id/map_index`` by default. (templated)
    :param census_conn_id: connection to Census. (templated)
    :param aws_conn_id: connection to the object store of the records; None leaves it to boto3. (templated)
    :return: the run's state and counts, as a small dictionary.
    """

    template_fields: Sequence[str] = (
        "sync",
        "at",
        "on_overlap",
        "on_cancelled",
        "full",
        "max_failed",
        "max_failed_ratio",
        "max_invalid",
        "max_invalid_ratio",
        "sync_timeout",
        "run_key",
        "census_conn_id",
        "aws_conn_id",
    )
    operator_extra_links: Collection[BaseOperatorLink] = (CensusSyncLink(),)
    reads_the_present: ClassVar[bool] = True

    def __init__(
        self,
        *,
        sync: int | str,
        at: str | None = None,
        on_overlap: str = "wait",
        on_cancelled: str = "fail",
        full: bool | str = False,
        max_failed: int | str | None = None,
        max_failed_ratio: float | str | None = None,
        max_invalid: int | str | None = None,
        max_invalid_ratio: float | str | None = None,
        sync_timeout: float | str = 6 * 3600,
        census_conn_id: str = "census_default",
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sync = sync
        self.at = at
        self.on_overlap = on_overlap
        self.on_cancelled = on_cancelled
        self.full = full
        self.max_failed = max_failed
        self.max_failed_ratio = max_failed_ratio
        self.max_invalid = max_invalid
        self.max_invalid_ratio = max_invalid_ratio
        self.sync_timeout = sync_timeout
        self.census_conn_id = census_conn_id
        self.aws_conn_id = aws_conn_id

    def job(self, run_key: str) -> Job:
        """Return the run of the sync."""
        from mz_orchestration.airflow.jobs.sync import SyncJob

        limits = {
            "max_failed": self.max_failed,
            "max_failed_ratio": self.max_failed_ratio,
            "max_invalid": self.max_invalid,
            "max_invalid_ratio": self.max_invalid_ratio,
        }
        spec = {
            "sync": self.sync,
            "on_overlap": self.on_overlap,
            "on_cancelled": self.on_cancelled,
            "full": self.full,
            # A template that renders to nothing sets no limit of its own.
            **{name: limit for name, limit in limits.items() if limit not in (None, "")},
            "timeout": self.sync_timeout,
        }
        return SyncJob(spec, run_key, self.at or None, self.census_conn_id, self.aws_conn_id)
