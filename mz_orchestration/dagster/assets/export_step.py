"""What the step of an export does, be it one or many: exports beside each other, each told of as it is finished."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster import AssetCheckKey, AssetCheckResult, AssetExecutionContext, AssetKey, Config, MaterializeResult
from pydantic import Field

from mz_orchestration.dagster.assets.checks import (
    COUNTS,
    check_export,
    check_results,
    counts_of_export,
    failed_check,
)
from mz_orchestration.dagster.assets.definition import ExportDefinition, required_definition
from mz_orchestration.dagster.assets.latest import check_latest
from mz_orchestration.dagster.assets.partitions import partition_of, refuse_the_past, spec_for
from mz_orchestration.dagster.errors import as_dagster_errors
from mz_orchestration.dagster.keys import own_run_key
from mz_orchestration.dagster.metadata import data_version, export_metadata
from mz_orchestration.errors import CheckError, ConfigurationError, ExportError, MzOrchestrationError, VerificationError

if TYPE_CHECKING:
    from mz_orchestration.dagster.resources import BoundResources
    from mz_orchestration.exports.policy import ExportPolicy
    from mz_orchestration.exports.result import ExportResult
    from mz_orchestration.exports.spec import ExportSpec
    from mz_orchestration.pipelines.tools import NodeResult, Tools

NEEDED = frozenset({"materialize", "object_store"})
# Seconds between looks at signals, which wake no thread that waits for good.
_LISTEN_EVERY = 0.2

Result = MaterializeResult[Any] | AssetCheckResult


class ExportConfig(Config):
    """What may be set when an export is launched, for this run only."""

    run_key: str | None = Field(
        default=None,
        description="Names the logical run: a finished one is returned, an unfinished one is picked up. "
        "The Dagster run's id and the asset's key if left out.",
    )
    to: str | None = Field(default=None, description="Another folder to export to: s3://bucket/folder/.")
    cluster: str | None = Field(default=None, description="Another cluster to run on.")
    max_file_size: str | None = Field(default=None, description="16MB to 4GB.")
    timeout: float | None = Field(default=None, description="Seconds the COPY may take before it is cancelled.")
    verify: str | None = Field(default=None, description="How closely to look at the files: listing, footers, full.")

    def over(self, spec: ExportSpec) -> ExportSpec:
        """The export with what is set here.

        Raises:
            ConfigurationError: A value is wrong.
        """
        from mz_orchestration.exports.spec import export_spec

        names = ("to", "cluster", "max_file_size", "timeout")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return export_spec(**{**spec.model_dump(exclude_unset=True), **given}) if given else spec

    def over_policy(self, policy: ExportPolicy) -> ExportPolicy:
        """The policy with what is set here.

        Raises:
            ConfigurationError: A value is wrong.
        """
        from mz_orchestration.exports.policy import ExportPolicy
        from mz_orchestration.validation import validated

        given = {} if self.verify is None else {"verify": self.verify}
        return validated(ExportPolicy, **{**policy.model_dump(exclude_unset=True), **given}) if given else policy


@dataclass(frozen=True)
class _Export:
    key: AssetKey
    source: AssetKey | None
    definition: ExportDefinition
    spec: ExportSpec
    policy: ExportPolicy
    run_key: str


@dataclass(frozen=True)
class _Ending:
    """How an export of a step ended."""

    export: _Export
    result: ExportResult | None = None
    checked: NodeResult | CheckError | None = None
    error: Exception | None = None


def export_selected(
    context: AssetExecutionContext,
    resources: BoundResources,
    config: ExportConfig | None = None,
    *,
    max_parallel: int = 4,
) -> Iterator[Result]:
    """Export what is selected of the step's assets, so many at a time.

    Args:
        context: The step's.
        resources: Those that are not the code location's.
        config: What was set at launch.
        max_parallel: How many COPYs at a time.

    Yields:
        A result, with checks, for each export as it is finished and verified.

    Raises:
        Failure: An export failed for good; all that failed are named. The others have been yielded.
        RetryRequested: Trying again may help all that failed; the others are then returned as they are.
    """
    with as_dagster_errors(context):
        exports = _selected(context, config or ExportConfig())
        tools = resources.tools(context, NEEDED)
        partitioned = partition_of(context) is not None
        checks = context.selected_asset_check_keys
        for key in sorted({check.asset_key for check in checks} - context.selected_asset_keys):
            # Checks that were asked for without their export are of the latest.
            definition = required_definition(context.assets_def.specs_by_key[key])
            yield from (each for each in check_latest(context, key, definition, tools) if _key(each) in checks)
        failed: dict[str, Exception] = {}
        for ending in _as_they_end(exports, tools, max_parallel):
            export, error = ending.export, ending.error
            if error is not None:
                failed[export.definition.name] = error
            if isinstance(error, VerificationError):
                yield failed_check(COUNTS, export.key, error)
            if ending.result is not None:
                yield _materialized(ending, partitioned, checks)
        if failed:
            raise _together(failed, len(exports))


def _selected(context: AssetExecutionContext, config: ExportConfig) -> list[_Export]:
    assets = context.assets_def
    keys = sorted(context.selected_asset_keys)
    partition = partition_of(context)
    found = []
    for key in keys:
        definition = required_definition(assets.specs_by_key[key])
        if not definition.allow_backfill:
            refuse_the_past(context, key)
        run_key = own_run_key(context, key, definition.name, definition.pipeline)
        if config.run_key:
            # A given name is taken as it is where it names one export only.
            alone = len(assets.specs_by_key) == 1
            run_key = config.run_key if alone else f"{config.run_key}/{key.to_user_string()}"
        if partition:
            run_key = f"{run_key}/{partition}"
        # Of a query nobody knows what it reads, and of several which column is whose.
        whole = definition.source is not None and definition.spec.query is None
        upstream = [dep.asset_key for dep in assets.specs_by_key[key].deps]
        source = upstream[0] if whole and len(upstream) == 1 else None
        spec = config.over(spec_for(definition, partition))
        found.append(_Export(key, source, definition, spec, config.over_policy(definition.policy), run_key))
    return found


def _as_they_end(exports: Sequence[_Export], tools: Tools, max_parallel: int) -> Iterator[_Ending]:
    """Carry them out on an event loop in a thread; whatever interrupts this one cancels them and waits for that."""
    from mz_orchestration.flow import Background

    endings: queue.SimpleQueue[_Ending] = queue.SimpleQueue()
    work = Background(_all(exports, tools, max_parallel, endings))
    try:
        work.start()
        # The work may end between a look at the queue and one at the work.
        while not (work.done and endings.empty()):
            try:
                yield endings.get(timeout=_LISTEN_EVERY)
            except queue.Empty:
                continue
        work.result()
    except BaseException as error:
        # Whoever interrupts may do so before the thread has begun.
        if work.cancel(type(error).__name__):
            work.wait()
        raise


async def _all(
    exports: Sequence[_Export], tools: Tools, max_parallel: int, endings: queue.SimpleQueue[_Ending]
) -> None:
    turns = asyncio.Semaphore(max_parallel)

    async def one(export: _Export) -> None:
        async with turns:
            endings.put(await _ending(export, tools))

    # Unlike a task group, it hands on the reason for which it is cancelled.
    await asyncio.gather(*(one(export) for export in exports))


async def _ending(export: _Export, tools: Tools) -> _Ending:
    from mz_orchestration.exports.export import arun_export

    try:
        result = await arun_export(
            export.spec,
            run_key=export.run_key,
            materialize=tools.materialize,
            store=tools.store,
            policy=export.policy,
            on_event=tools.on_event,
        )
        checked = await check_export(export.definition, result.manifest, export.run_key, tools)
    except Exception as error:
        # One that fails, whatever the reason, is no reason to cancel the others.
        return _Ending(export, error=error)
    return _Ending(export, result, checked)


def _materialized(ending: _Ending, partitioned: bool, checks: AbstractSet[AssetCheckKey]) -> MaterializeResult[Any]:
    export, result = ending.export, ending.result
    assert result is not None
    found = [
        counts_of_export(export.key, result.manifest),
        *check_results(export.definition, export.key, ending.checked),
    ]
    return MaterializeResult(
        asset_key=export.key,
        metadata=export_metadata(result, source=export.source, partitioned=partitioned),
        data_version=data_version(result.manifest),
        check_results=[each for each in found if _key(each) in checks],
    )


def _key(check: AssetCheckResult) -> AssetCheckKey:
    assert check.asset_key is not None
    assert check.check_name is not None
    return AssetCheckKey(check.asset_key, check.check_name)


def _together(failed: Mapping[str, Exception], of: int) -> Exception:
    """One error for all that failed; whether to try again goes by the worst."""
    errors = list(failed.values())
    if of == 1:
        return errors[0]
    known = [error for error in errors if isinstance(error, MzOrchestrationError)]
    if len(known) < len(errors):
        return next(error for error in errors if not isinstance(error, MzOrchestrationError))
    worst = next((error for error in known if not error.retryable), known[0])
    said = " ".join(f"{name}: {getattr(error, 'message', error)}" for name, error in failed.items())
    kind = ConfigurationError if all(isinstance(error, ConfigurationError) for error in known) else ExportError
    return kind(
        f"{len(failed)} of {of} exports failed. {said}",
        hint=worst.hint,
        retryable=worst.retryable,
        details={"failed": ", ".join(failed)},
    )
