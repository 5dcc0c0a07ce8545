"""The asset checks: what an export has to be like before anything is loaded from it, and that all counts agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dagster import AssetCheckResult, AssetCheckSpec, AssetKey

from mz_orchestration.dagster.assets.definition import ExportDefinition
from mz_orchestration.dagster.errors import error_metadata
from mz_orchestration.errors import CheckError, MzOrchestrationError
from mz_orchestration.pipelines.check_spec import ChecksSpec

if TYPE_CHECKING:
    from mz_orchestration.exports.manifest import Manifest
    from mz_orchestration.pipelines.tools import NodeResult, Tools

COUNTS = "counts_reconciled"
ACCEPTED = "records_accepted"

# Below which name the store keeps what passed, of exports that belong to no pipeline.
_NO_PIPELINE = "dagster"
_WANTED = {
    "min_rows": "It has at least {value:g} rows.",
    "max_rows": "It has at most {value:g} rows.",
    "max_change": "Its number of rows differs by at most {value:.4%} from that of the last run that passed.",
    "max_lag": "Its object lags at most {value:g} s behind the clock, by Materialize's account.",
}


def wanted_checks(checks: ChecksSpec) -> dict[str, Any]:
    """The checks that are set, and their limits."""
    return {name: value for name in _WANTED if (value := getattr(checks, name)) is not None}


def export_check_specs(key: AssetKey, checks: ChecksSpec) -> list[AssetCheckSpec]:
    """One check for each limit that is set; all of them block what depends on the export.

    Args:
        key: Of the export's asset.
        checks: The limits.
    """
    return [
        AssetCheckSpec(name, asset=key, blocking=True, description=_WANTED[name].format(value=value))
        for name, value in wanted_checks(checks).items()
    ]


def counts_check_spec(key: AssetKey, *, of_load: bool) -> AssetCheckSpec:
    """The check that the counts of neighbouring steps are the same number.

    Args:
        key: Of the asset.
        of_load: Whether it is a load's, or an export's.
    """
    counted = "Rows copied by Materialize, rows in the files" + (" and rows loaded" if of_load else "")
    return AssetCheckSpec(COUNTS, asset=key, blocking=True, description=f"{counted} are the same number.")


def counts_of_export(key: AssetKey, manifest: Manifest) -> AssetCheckResult:
    """Of an export that is verified; ``unknown`` stands for an answer of Materialize that was lost."""
    copied = "unknown" if manifest.copied is None else manifest.copied
    counts: dict[str, int | str] = {"materialize/rows_copied": copied, "materialize/rows_in_files": manifest.rows}
    if manifest.counted is not None:
        counts["materialize/rows_counted"] = manifest.counted
    return AssetCheckResult(passed=True, check_name=COUNTS, asset_key=key, metadata=counts)


def failed_check(name: str, key: AssetKey, error: MzOrchestrationError) -> AssetCheckResult:
    """A check that an error has decided."""
    return AssetCheckResult(
        passed=False, check_name=name, asset_key=key, description=str(error), metadata=error_metadata(error)
    )


async def check_export(
    definition: ExportDefinition, manifest: Manifest, run_key: str, tools: Tools
) -> NodeResult | CheckError | None:
    """Look at an export that is finished; what passes is remembered for the next one's ``max_change``.

    Args:
        definition: What it has to be like.
        manifest: What it is.
        run_key: The export's.
        tools: What to work with.

    Returns:
        What came of it; None where nothing is to be checked.

    Raises:
        CheckError: It may pass in a while.
        VerificationError: What is remembered of earlier runs cannot be read.
    """
    from mz_orchestration.flow import arun
    from mz_orchestration.pipelines.checks import check_flow
    from mz_orchestration.pipelines.planning import CheckNode

    if not wanted_checks(definition.checks):
        return None
    node = CheckNode(f"check {definition.name}", (), (), definition.node())
    base, history = definition.spec.base, definition.pipeline or _NO_PIPELINE
    try:
        return await arun(check_flow(node, manifest, history, run_key, base, tools))
    except CheckError as error:
        if error.retryable:
            raise
        return error


def check_results(
    definition: ExportDefinition, key: AssetKey, outcome: NodeResult | CheckError | None
) -> Sequence[AssetCheckResult]:
    """What came of the checks, one by one.

    Args:
        definition: What was wanted.
        key: Of the asset.
        outcome: From `check_export`.
    """
    if outcome is None:
        return []
    names = list(wanted_checks(definition.checks))
    if not isinstance(outcome, CheckError):
        told = {f"materialize/{name}": value for name, value in outcome.metadata.items()}
        return [
            AssetCheckResult(passed=True, check_name=name, asset_key=key, description=outcome.line, metadata=told)
            for name in names
        ]
    failed = str(outcome.details.get("checks") or "").split(", ")
    if not set(failed) & set(names):
        failed = names  # nothing could be looked at
    return [
        failed_check(name, key, outcome)
        if name in failed
        else AssetCheckResult(passed=True, check_name=name, asset_key=key)
        for name in names
    ]
