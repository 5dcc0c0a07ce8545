"""The checks between an export and whatever needs it: how many rows, how much of a change, how far behind the clock.

An export that is whole may still be wrong: empty because a source broke, doubled because of a join. What passed is
remembered (`history`); what does not pass stops the loads and syncs that need it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from mz_orchestration.errors import CheckError, Detail
from mz_orchestration.exports.manifest import Manifest
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.flow import Flow, call
from mz_orchestration.materialize.connection import MaterializeConfig
from mz_orchestration.materialize.lag import Lag, find_lags
from mz_orchestration.materialize.session import Session
from mz_orchestration.objectstore.location import Location
from mz_orchestration.pipelines.check_spec import ChecksSpec
from mz_orchestration.pipelines.history import PassedRun, history_location, passed_run, read_history, remember
from mz_orchestration.pipelines.planning import CheckNode
from mz_orchestration.pipelines.tools import NodeResult, Tools
from mz_orchestration.progress import Progress


class CheckStep(StrEnum):
    """The steps of a check."""

    LAG = "lag"
    CHECK = "check"
    REMEMBER = "remember"


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that failed.

    Attributes:
        check: Its name in the file.
        text: One sentence with the numbers.
        hint: What to do.
        retryable: Whether it may pass by waiting.
    """

    check: str
    text: str
    hint: str
    retryable: bool = False


def judge(checks: ChecksSpec, rows: int, earlier: PassedRun | None, lags: Sequence[Lag]) -> list[Finding]:
    """The checks that fail.

    Args:
        checks: What is wanted.
        rows: Rows of the export.
        earlier: The last run that passed before this one; None if there is none.
        lags: Of the object, or of what a view reads.
    """
    found = []
    if checks.min_rows is not None and rows < checks.min_rows:
        text = f"It has {_rows(rows)}, and min_rows is {checks.min_rows}."
        found.append(Finding("min_rows", text, "Look at what it reads from, or lower min_rows."))
    if checks.max_rows is not None and rows > checks.max_rows:
        text = f"It has {_rows(rows)}, and max_rows is {checks.max_rows}."
        found.append(Finding("max_rows", text, "Look for rows that are there twice, or raise max_rows."))
    if checks.max_change is not None and earlier is not None:
        found += _change(checks.max_change, rows, earlier)
    if checks.max_lag is not None:
        found += _lag(checks.max_lag, lags)
    return found


def _change(allowed: float, rows: int, earlier: PassedRun) -> list[Finding]:
    # In decimals: 29 of 100 is not more than 29 %, whatever 0.29 * 100 is.
    if abs(rows - earlier.rows) <= Decimal(str(allowed)) * earlier.rows:
        return []
    before = f"the run {earlier.run_key!r}, the last before it that passed,"
    hint = "If that is right, {accept}, and run again with the same run key."
    if earlier.rows == 0:
        text = (
            f"It has {_rows(rows)}, and {before} had none: that is more than any share of nothing, max_change or not."
        )
        return [Finding("max_change", text, hint)]
    share = change(rows, earlier.rows)
    text = (
        f"It has {_rows(rows)}, and {before} had {earlier.rows}: {share} where max_change allows {_percent(allowed)}."
    )
    return [Finding("max_change", text, hint)]


def _lag(allowed: float, lags: Sequence[Lag]) -> list[Finding]:
    unknown = [lag.object for lag in lags if lag.seconds is None]
    late = [lag for lag in lags if lag.seconds is not None and lag.seconds > allowed]
    found = []
    if unknown:
        text = f"Materialize does not say how far {', '.join(unknown)} lags behind, and max_lag is {allowed:g} s."
        hint = "New objects are listed after a minute or two, others once they can be read; or set max_lag: null."
        found.append(Finding("max_lag", text, hint, retryable=True))
    if late:
        said = ", ".join(f"{lag.object} lags {lag.seconds:g} s" for lag in late)
        hint = "Run again with another run key once it has caught up: these rows stay what they are."
        found.append(Finding("max_lag", f"By Materialize's account {said}, and max_lag is {allowed:g} s.", hint))
    return found


def check_flow(
    node: CheckNode, manifest: Manifest, pipeline: str, run_key: str, base: Location, tools: Tools
) -> Flow[NodeResult]:
    """Check an export, and remember that it passed.

    Two requests to the store, and a PUT; for ``max_lag`` a session with Materialize and its few statements.

    Args:
        node: What is checked.
        manifest: What was exported.
        pipeline: Its name.
        run_key: The pipeline's.
        base: Folder that the pipeline's records lie below.
        tools: What to work with.

    Raises:
        CheckError: Checks failed.
        VerificationError: The history of earlier runs is not readable.
    """
    checks, item = node.export.checks, node.export.item
    progress = Progress(tools.clock, tools.on_event)
    if manifest.verified is VerifyLevel.LISTING and manifest.copied is None and manifest.counted is None:
        raise CheckError(
            f"{item}: nobody has counted its rows, so they cannot be checked.",
            hint="Set verify: footers, and export again with another run key.",
        )
    this = passed_run(run_key, manifest)
    lags: list[Lag] = []
    if checks.max_lag is not None:
        with progress.step(CheckStep.LAG, "ask Materialize how far it lags behind"):
            lags = yield from call(_ask, tools, node.export.source or manifest.object)
    with progress.step(CheckStep.CHECK, "compare with what is expected") as details:
        history, _ = yield from call(read_history, tools.store, base, pipeline, item)
        earlier = history.before(this)
        metadata = _numbers(manifest.rows, earlier, lags)
        findings = judge(checks, manifest.rows, earlier, lags)
        if findings:
            place = history_location(base, pipeline, item)
            raise _failed(item, findings, metadata, f"raise max_change for this run, or delete {place}")
        details.update(metadata)
    with progress.step(CheckStep.REMEMBER, "write down that it passed"):
        known = yield from call(remember, tools.store, base, pipeline, item, this)
    line = " ".join(f"{name}={value}" for name, value in metadata.items())
    return NodeResult(line if earlier else f"{line}, no earlier run to compare with", metadata, known)


def _ask(tools: Tools, name: str) -> list[Lag]:
    with Session(tools.materialize or MaterializeConfig(), application_name="mz-orchestration check") as session:
        return find_lags(session, name)


def _numbers(rows: int, earlier: PassedRun | None, lags: Sequence[Lag]) -> dict[str, int | float | str]:
    numbers: dict[str, int | float | str] = {"rows": rows}
    if earlier is not None:
        numbers.update(earlier_rows=earlier.rows, earlier_run=earlier.run_key)
        if earlier.rows:
            numbers["change"] = change(rows, earlier.rows)
    known = [lag.seconds for lag in lags if lag.seconds is not None]
    if known:
        numbers["lag_seconds"] = max(known)
    return numbers


def _failed(item: str, findings: Sequence[Finding], numbers: dict[str, int | float | str], accept: str) -> CheckError:
    details: dict[str, Detail] = {"checks": ", ".join(dict.fromkeys(finding.check for finding in findings)), **numbers}
    return CheckError(
        f"{item}: " + " ".join(finding.text for finding in findings),
        hint=" ".join(dict.fromkeys(finding.hint.replace("{accept}", accept) for finding in findings)),
        # By the worst: what does not pass by waiting is not waited for.
        retryable=all(finding.retryable for finding in findings),
        details=details,
    )


def change(rows: int, earlier: int) -> str:
    """A change as people say it, such as ``-12.50%``."""
    share = (Decimal(rows) - earlier) * 100 / earlier
    return f"{share:+.2f}%" if abs(share) >= 1 or share == 0 else f"{share:+.2g}%"


def _percent(share: float) -> str:
    return f"{(Decimal(str(share)) * 100).normalize():f}%"


def _rows(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"
