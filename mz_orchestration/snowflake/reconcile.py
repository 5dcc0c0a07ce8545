"""Comparing what Snowflake says it loaded with what the manifest says was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mz_orchestration.errors import ReconciliationError
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.flow import Flow
from mz_orchestration.snowflake import statements
from mz_orchestration.snowflake.checks import column_checks
from mz_orchestration.snowflake.job import Job, LoadStep
from mz_orchestration.snowflake.quoting import Name, identifier
from mz_orchestration.snowflake.refusals import masked
from mz_orchestration.snowflake.spec import Checks, Strategy

# More than these are counted only.
_NAMED = 10


def findings(manifest: Manifest, answer: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every disagreement, one line each; empty means that each file arrived whole and nothing else did.

    Args:
        manifest: The export.
        answer: Rows of all COPY INTO statements, by lower-case column name. A COPY that found nothing answers with a
            single column and no file name.
    """
    expected = {file.name: file.rows for file in manifest.files}
    found: list[str] = []
    seen: set[str] = set()
    for row in answer:
        if "file" not in row:
            found.append(f"Snowflake answered: {row.get('status')}")
            continue
        name = str(row["file"]).rpartition("/")[2]
        if name not in expected:
            found.append(f"{name}: loaded but not in the manifest")
            continue
        if name in seen:
            found.append(f"{name}: loaded twice")
        seen.add(name)
        if row["status"] != "LOADED" or row["errors_seen"]:
            problem = masked(str(row["first_error"])) if row.get("first_error") else "no error given"
            found.append(f"{name}: {row['status']}, {row['errors_seen']} errors, the first: {problem}")
        if row["rows_loaded"] != expected[name]:
            found.append(f"{name}: {row['rows_loaded']} rows loaded, {expected[name]} in the file")
    found += [f"{name}: not loaded" for name in expected if name not in seen]
    return found


def reconcile(job: Job, table: Name, answer: Iterable[Mapping[str, Any]]) -> Flow[int]:
    """Compare the files, what COPY INTO answered, and the table it filled.

    Returns:
        How many rows the table holds.

    Raises:
        ReconciliationError: They differ, a column's values do, or rows cannot be told apart by their keys.
    """
    manifest = job.manifest
    problems = findings(manifest, answer) if manifest.rows else []
    loaded = int((yield from job.query(statements.count_rows(table))).rows[0]["n"])
    if loaded != manifest.rows:
        problems.append(f"{loaded} rows are in the table, {manifest.rows} in the files")
    if not problems and job.spec.checks is Checks.COLUMNS:
        problems += yield from column_checks(
            manifest,
            table,
            job.session,
            job.context.store,
            timeout=job.spec.timeout,
            execute=lambda statement: job.submit(statement, step=LoadStep.RECONCILE),
        )
    if problems:
        refuse_findings(job, problems)
    if job.keys:
        yield from _check_keys(job, table)
    return loaded


def _check_keys(job: Job, table: Name) -> Flow[None]:
    asked = statements.find_bad_keys(table, job.keys)
    row = (yield from job.submit(asked, step=LoadStep.RECONCILE)).rows[0]
    nulls, shared = int(row["nulls"]), int(row["n"]) - int(row["different"])
    named = ", ".join(job.spec.keys)
    found = [f"{nulls} rows have no value in a key ({named})"] if nulls else []
    if shared:
        found.append(f"{shared} rows share their key ({named}) with another")
    if found:
        raise ReconciliationError(
            f"Rows of the export cannot be told apart by their keys: {'; '.join(found)}.",
            hint="Name keys that are unique and never null, or load by another strategy. Nothing was published; "
            f"{identifier(*table)} holds the rows.",
            details={"rows_in_files": job.manifest.rows, "rows_without_key": nulls, "rows_with_shared_key": shared},
        )


def expect_rows(job: Job, table: Name) -> Flow[None]:
    """Make sure that a table holds the manifest's rows and no others.

    Raises:
        ReconciliationError: It does not.
    """
    there = int((yield from job.query(statements.count_rows(table))).rows[0]["n"])
    if there != job.manifest.rows:
        refuse_findings(job, [f"{there} rows are in the target, {job.manifest.rows} in the files"])


def refuse_findings(job: Job, problems: Sequence[str]) -> None:
    """Refuse to publish.

    Raises:
        ReconciliationError: Always.
    """
    in_place = job.plan.found is not None and job.spec.strategy is Strategy.TRANSACTION
    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    where = (
        "The transaction was rolled back; the target is as it was."
        if in_place
        else f"Nothing was published. Inspect {identifier(*job.staging)}; the next load of this manifest drops it."
    )
    raise ReconciliationError(
        f"What Snowflake loaded does not agree with the manifest: {'; '.join(problems[:_NAMED])}{more}.",
        hint=where,
        details={"findings": len(problems), "rows_in_files": job.manifest.rows},
    )
