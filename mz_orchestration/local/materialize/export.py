"""One ``COPY ... TO 's3://...'`` from the preflight to the deleted sentinel, in a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mz_orchestration.local.materialize import store
from mz_orchestration.local.materialize.csv_export import write_csv
from mz_orchestration.local.materialize.file_faults import Restarted
from mz_orchestration.local.materialize.job import ExportJob
from mz_orchestration.local.materialize.parquet_export import write_parquet

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def run(job: ExportJob) -> int:
    """Do it all and return the number of rows; any failure after the sentinel was put leaves it there.

    Raises:
        StatementError: what the client is to be told.
    """
    plan, faults = job.plan, job.plan.faults
    try:
        client = store.s3_client(plan.settings)
        store.preflight(client, plan.keys)
        job.pause(faults.preflight_delay + faults.cancel_lost_in_preflight)
        store.put_sentinel(client, plan.keys)
        job.registered()
        if faults.fail_with and faults.partial_files is None and not faults.sentinel_deleted_though_failed:
            raise job.file_faults.failure()
        rows = _write(job, client)
        if faults.partial_files is not None:
            job.open(client, plan.batches, 0).upload_rest()
            raise job.file_faults.failure()
        job.pause(faults.sentinel_delay)
        store.delete_sentinel(client, plan.keys)
        if faults.sentinel_deleted_though_failed:
            raise job.file_faults.failure()
    finally:
        job.close()
    return rows


def run_late(job: ExportJob) -> int:
    """Write the files of an export that has succeeded once more, as a second replica does that was slower."""
    try:
        return _write_once(job, store.s3_client(job.plan.settings))
    finally:
        job.close()


def _write(job: ExportJob, client: S3Client) -> int:
    while True:
        try:
            return _write_once(job, client)
        except Restarted:
            continue


def _write_once(job: ExportJob, client: S3Client) -> int:
    csv = job.plan.csv
    return write_parquet(job, client) if csv is None else write_csv(job, client, csv)
