"""The staging table: made, filled and compared with the manifest before anybody sees its rows.

An earlier process may have been killed while its COPY INTO ran, and Snowflake carries that out to its end. Such a
table is taken over: waited for by query id, and given another name, so that of two processes only one goes on with it.
"""

from __future__ import annotations

from typing import Any

from mz_orchestration.errors import MzOrchestrationError, RunConflictError, UnavailableError
from mz_orchestration.flow import Flow, call
from mz_orchestration.runs.record import LoadEntry, LoadState
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.copy import MAX_FILES, copy_into
from mz_orchestration.snowflake.job import Job, LoadStep
from mz_orchestration.snowflake.marker import mark_of
from mz_orchestration.snowflake.names import transaction_name
from mz_orchestration.snowflake.spec import Strategy

Rows = list[dict[str, Any]]


def fill_staging(job: Job) -> Flow[Rows]:
    """Make the staging table and copy the files into it.

    Returns:
        What COPY INTO answered: a row for each file.
    """
    with job.context.step(LoadStep.STAGE, f"create the staging table {job.staging[2]}"):
        yield from job.save(begins=True)
        yield from _create(job)
    with job.context.step(LoadStep.COPY, f"copy {len(job.manifest.files)} files into it") as details:
        rows = yield from copy_files(job, job.staging)
        details.update(files=len(rows))
    return rows


def _create(job: Job) -> Flow[None]:
    found, columns = job.plan.found, job.plan.columns
    if found is None:
        yield from job.query(statements.create_staging(job.staging, columns))
    elif job.spec.strategy is Strategy.SWAP:
        clone = statements.clone(job.staging, job.plan.table, transient=found.transient)
        yield from job.submit(clone, step=LoadStep.STAGE)
        yield from job.query(statements.truncate(job.staging))
        if job.plan.add:
            yield from job.query(statements.add_columns(job.staging, job.plan.add))
        if found.clustered:
            yield from job.query(statements.resume_clustering(job.staging))
    else:
        yield from job.query(statements.create_transient_staging(job.staging, columns))


def copy_files(job: Job, target: tuple[str, ...], *, force: bool = False, in_transaction: bool = False) -> Flow[Rows]:
    """Copy all files, more than 1,000 in several statements of one transaction.

    Args:
        job: The load.
        target: The table.
        force: Copy files that the table's load history knows.
        in_transaction: There is a transaction already.
    """
    copies = list(copy_into(target, job.plan.stage, job.plan.path, job.manifest, job.plan.columns, force=force))
    own = len(copies) > 1 and not in_transaction
    rows: Rows = []
    if own:
        yield from job.query(statements.end_autocommit())
        yield from job.query(statements.begin(transaction_name(job.entry.load)))
    for statement in copies:
        answer = yield from job.submit(statement, step=LoadStep.COPY, ids=job.entry.query_ids)
        rows += answer.rows
    if own:
        yield from job.query(statements.commit())
    return rows


def take_over(job: Job, earlier: LoadEntry) -> Flow[Rows | None]:
    """Take over the staging table of a load whose process seems to have gone, once its COPY has ended.

    Returns:
        What its COPY INTO answered, the table being ours by its new name; None if there is nothing of use.
    """
    resumable = (
        earlier.state is LoadState.STARTED
        and earlier.load
        and earlier.shape == job.entry.shape
        and len(earlier.query_ids) == 1
        and not earlier.publish_ids
        and len(job.manifest.files) <= MAX_FILES
    )
    if not resumable:
        return None
    query_id, old = earlier.query_ids[0], job.plan.staging(earlier.load)
    job.entry.query_ids.append(query_id)
    # Before anything else: what is written down names both tables, and this process as the one that goes on.
    yield from job.save(begins=True)
    job.context.on_job(job)
    try:
        with job.context.step(LoadStep.COPY, f"wait for the COPY INTO {query_id} of an earlier process"):
            answer = yield from job.wait(query_id, step=LoadStep.COPY)
        yield from job.query(statements.rename(old, job.staging))
    except MzOrchestrationError as error:
        if isinstance(error, UnavailableError) or "timeout_seconds" in error.details:
            raise
        # It failed, or whoever began it has gone on with it after all.
        job.context.note(LoadStep.COPY, f"it is of no use ({error.message})")
        job.entry.query_ids.clear()
        return None
    # If they exchanged the tables just before, what we hold by its name is what the target was.
    table = job.plan.table
    described = yield from job.query(statements.describe_tables((table[0], table[1]), [table[2]]))
    there = mark_of(described.rows[0]["comment"]) if described.rows else None
    if there is not None and there.load == earlier.load:
        raise RunConflictError(
            f"An earlier process has published {job.plan.label} meanwhile.",
            hint="Run the same command again: it will find the work done.",
            retryable=True,
        )
    return answer.rows


def drop_staging(job: Job, load: str) -> Flow[None]:
    """Remove the staging table of a load; one that cannot be removed now does no harm."""
    try:
        yield from call(job.session.query, statements.drop(job.plan.staging(load)))
    except MzOrchestrationError as error:
        job.context.note(LoadStep.FINISH, f"the staging table of load {load} stays: {error.message}")
