"""One ``COPY ... TO 's3://...'`` from the preflight to the deleted sentinel, in a thread of its own."""

from __future__ import annotations

from mz_orchestration.local.materialize import store
from mz_orchestration.local.materialize.csv_export import write_csv
from mz_orchestration.local.materialize.job import ExportJob
from mz_orchestration.local.materialize.parquet_export import write_parquet


def run(job: ExportJob) -> int:
    """Do it all and return the number of rows; any failure after the sentinel was put leaves it there.

    Raises:
        StatementError: what the client is to be told.
    """
    plan = job.plan
    try:
        client = store.s3_client(plan.settings)
        store.preflight(client, plan.keys)
        job.check()
        store.put_sentinel(client, plan.keys)
        rows = write_parquet(job, client) if plan.csv is None else write_csv(job, client, plan.csv)
        job.check()
        store.delete_sentinel(client, plan.keys)
    finally:
        job.close()
    return rows
