"""Publishing: the one atomic step in which the target gets the rows.

By a change of names (`publish_by_swap`, `publish_by_rename`), or by DML in a transaction that also holds the ledger's
row (`publish_by_insert`, `publish_by_merge`, `replace_in_place`). Of two loads of one manifest the second to come to
the ledger's lock finds the row of the first, and undoes its own work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from mz_orchestration.errors import MzOrchestrationError, RunConflictError
from mz_orchestration.flow import Flow, call
from mz_orchestration.snowflake import ledger, statements
from mz_orchestration.snowflake.job import Job, LoadStep
from mz_orchestration.snowflake.marker import mark
from mz_orchestration.snowflake.names import transaction_name
from mz_orchestration.snowflake.plan import TableFacts, table_facts
from mz_orchestration.snowflake.quoting import Sql
from mz_orchestration.snowflake.reconcile import expect_rows, refuse_findings
from mz_orchestration.snowflake.spec import Clear
from mz_orchestration.snowflake.staging import Rows, copy_files
from mz_orchestration.snowflake.standing import is_older


def publish_by_swap(job: Job) -> Flow[bool]:
    """Exchange the target and the staging table, which holds the earlier rows from then on.

    Raises:
        RunConflictError: The target is not as it was when the staging table was made like it.
    """
    found = job.plan.found
    assert found is not None
    comment = mark(found.comment, job.manifest, job.entry.load, swapped=True)
    yield from job.query(statements.set_comment(job.staging, comment))
    there, staging = yield from _describe(job)
    if there is None or (there.created, there.changed, there.comment) != (found.created, found.changed, found.comment):
        raise RunConflictError(
            f"{job.plan.label} was changed by somebody else while it was loaded.",
            hint="Run the same command again: it starts from the table as it is now.",
            retryable=True,
        )
    yield from job.still_ours()
    yield from job.query(statements.swap(job.plan.table, job.staging))
    yield from _write_ledger(job, staging, "swap")
    return True


def publish_by_rename(job: Job) -> Flow[bool]:
    """Give the staging table the target's name, unless another process was faster.

    Returns:
        Whether it was this load that published; False if another has published the same manifest.
    """
    comment = mark(None, job.manifest, job.entry.load, swapped=False)
    yield from job.query(statements.set_comment(job.staging, comment))
    _, staging = yield from _describe(job)
    yield from job.still_ours()
    try:
        yield from job.query(statements.rename(job.staging, job.plan.table))
    except MzOrchestrationError as error:
        there, _ = yield from _describe(job)
        if there is None:
            raise
        if there.mark is None or there.mark.manifest != job.manifest.sha256:
            raise RunConflictError(
                f"Somebody else has created {job.plan.label} meanwhile.",
                hint="Run the same command again: it will load into that table.",
                retryable=True,
            ) from error
        if there.mark.load != job.entry.load:
            return False
    job.entry.leftovers.remove(job.entry.load)
    yield from _write_ledger(job, staging, "new")
    return True


def _describe(job: Job) -> Flow[tuple[TableFacts | None, TableFacts | None]]:
    """The target and the staging table as they are now."""
    table, staging = job.plan.table, job.staging
    described = yield from job.query(statements.describe_tables((table[0], table[1]), [table[2], staging[2]]))
    rows = {row["table_name"]: row for row in described.rows}
    there, filled = rows.get(table[2]), rows.get(staging[2])
    return (
        None if there is None else table_facts(there, table),
        None if filled is None else table_facts(filled, staging),
    )


def publish_by_insert(job: Job, *, overwrite: bool) -> Flow[bool]:
    """Copy the staging table's rows into the target, instead of its own or to them.

    Returns:
        Whether it was this load that published; False if another has published the same manifest.
    """

    def work() -> Flow[None]:
        statement = statements.insert_rows(job.plan.table, job.staging, job.plan.columns, overwrite=overwrite)
        answer = yield from job.submit(statement, step=LoadStep.PUBLISH, ids=job.entry.publish_ids)
        inserted = _count(answer.rows[0], "inserted")
        if inserted != job.manifest.rows:
            refuse_findings(job, [f"{inserted} rows were inserted, {job.manifest.rows} are in the files"])

    return (yield from _in_transaction(job, work))


def publish_by_merge(job: Job) -> Flow[bool]:
    """Update and insert by key, and delete what the export lacks if that is wanted.

    Returns:
        Whether it was this load that published; False if another has published the same manifest.
    """

    def work() -> Flow[None]:
        plan, keys = job.plan, job.keys
        merge = statements.merge(plan.table, job.staging, plan.columns, keys)
        answer = yield from job.submit(merge, step=LoadStep.PUBLISH, ids=job.entry.publish_ids)
        inserted, updated = _count(answer.rows[0], "inserted"), _count(answer.rows[0], "updated")
        only_keys = len(plan.columns) == len(keys)
        if inserted + updated != job.manifest.rows and not only_keys:
            named = ", ".join(job.spec.keys)
            refuse_findings(
                job,
                [
                    f"{inserted} rows were inserted and {updated} updated for {job.manifest.rows} in the files: "
                    f"several rows of the target share a key ({named})"
                ],
            )
        if job.spec.delete_missing:
            delete = statements.delete_missing(plan.table, job.staging, keys)
            yield from job.submit(delete, step=LoadStep.PUBLISH, ids=job.entry.publish_ids)

    return (yield from _in_transaction(job, work))


def replace_in_place(job: Job, reconcile: Callable[[Rows], Flow[None]]) -> Flow[bool]:
    """Empty the target and copy the files into it.

    Args:
        job: The load.
        reconcile: Compares what COPY INTO answered with the manifest, and raises if they differ.

    Returns:
        Whether it was this load that published; False if another has published the same manifest.
    """

    def work() -> Flow[None]:
        delete = job.spec.clear is Clear.DELETE
        empty = statements.delete_all(job.plan.table) if delete else statements.truncate(job.plan.table)
        yield from job.submit(empty, step=LoadStep.COPY, ids=job.entry.publish_ids)
        # DELETE keeps the load history, by which files that were loaded before would be skipped; whether TRUNCATE has
        # forgotten it before the commit is not documented.
        rows = yield from copy_files(job, job.plan.table, force=True, in_transaction=True)
        yield from reconcile(rows)

    return (yield from _in_transaction(job, work))


def _in_transaction(job: Job, work: Callable[[], Flow[None]]) -> Flow[bool]:
    """Do some work and write the ledger's row in one transaction, unless somebody else was first."""
    plan, found = job.plan, job.plan.found
    assert found is not None
    if plan.add:
        # DDL would end the transaction; the new columns are empty until it commits.
        yield from job.query(statements.add_columns(plan.table, plan.add))
    yield from job.query(ledger.make_lock(plan.ledger, plan.label))
    # Another process may undo the transaction, which this session would not be told: without the next statement, what
    # is left of the work would be committed piece by piece.
    yield from job.query(statements.end_autocommit())
    asked = ledger.read(plan.ledger, plan.label, job.manifest, created=found.created, load=job.entry.load)
    try:
        yield from job.query(statements.begin(transaction_name(job.entry.load)))
        began = yield from _transaction(job)
        yield from work()
        if _count((yield from job.query(ledger.lock(plan.ledger, plan.label))).rows[0], "updated") == 0:
            raise _undone(job)
        known = ledger.facts((yield from job.query(asked)).rows)
        if known.had > job.look.facts.had:
            yield from job.query(statements.rollback())
            return False
        if is_older(job.spec, job.manifest, known):
            raise RunConflictError(
                f"{plan.label} was loaded with what was exported later, meanwhile.",
                hint="Nothing was changed, and nothing has to be done; --again loads this manifest all the same.",
            )
        if job.spec.strategy.replaces or job.spec.delete_missing:
            # By now committed: rows that others have added without waiting for us.
            yield from expect_rows(job, plan.table)
        yield from job.query(_ledger_row(job, found.created, job.spec.strategy.value))
        yield from job.still_ours()
        if (yield from _transaction(job)) != began:
            raise _undone(job)
        yield from job.query(statements.commit())
    except BaseException:
        yield from call(_roll_back, job)
        raise
    # A COMMIT behind an undone transaction succeeds and commits nothing.
    if not ledger.facts((yield from job.query(asked)).rows).load_known:
        raise _undone(job)
    return True


def _transaction(job: Job) -> Flow[str]:
    return str((yield from job.query(statements.current_transaction())).rows[0]["id"])


def _undone(job: Job) -> RunConflictError:
    return RunConflictError(
        f"Another process has undone the transaction that loads {job.plan.label}; the target is as it was.",
        hint="It has taken the load over, or cancelled it. Run the same command again: it will find out.",
        retryable=True,
    )


def _roll_back(job: Job) -> None:
    # A session that cannot do it any more loses its transaction when it is closed.
    with suppress(MzOrchestrationError):
        job.session.query(statements.rollback())


def _ledger_row(job: Job, created: str, strategy: str) -> Sql:
    entry = job.entry
    return ledger.insert(
        job.plan.ledger,
        job.plan.label,
        job.manifest,
        load=entry.load,
        strategy=strategy,
        query_ids=[*entry.query_ids, *entry.publish_ids],
        created=created,
    )


def _write_ledger(job: Job, published: TableFacts | None, strategy: str) -> Flow[None]:
    yield from job.query(_ledger_row(job, published.created if published else "", strategy))


def _count(row: Mapping[str, Any], what: str) -> int:
    """A number from the answer to DML, whose columns are called like ``number of rows inserted``."""
    return int(row.get(f"number of rows {what}") or 0)
