"""Assets for runs of Census syncs: triggered once, waited for, and no success unless Census and its records say so."""

# Annotations are not postponed: Dagster reads those of the functions inside the builders as they are.
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    DataVersion,
    MaterializeResult,
    multi_asset,
)

from mz_orchestration.dagster.assets.attributes import AssetAttributes, with_attributes
from mz_orchestration.dagster.assets.checks import ACCEPTED, failed_check
from mz_orchestration.dagster.assets.definition import ExportAsset, upstream_keys
from mz_orchestration.dagster.errors import as_dagster_errors
from mz_orchestration.dagster.keys import op_name, own_run_key
from mz_orchestration.dagster.metadata import sync_metadata
from mz_orchestration.dagster.resources import BoundResources
from mz_orchestration.dagster.translator import DagsterMaterializeTranslator, SyncProps
from mz_orchestration.errors import RejectedRecordsError

if TYPE_CHECKING:
    from mz_orchestration.census.spec import SyncSpec

Result = MaterializeResult[Any] | AssetCheckResult


def build_sync_asset(
    sync: str | int,
    *,
    after: Sequence[ExportAsset] = (),
    at: str | None = None,
    on_overlap: Literal["wait", "attach", "fail"] = "wait",
    on_cancelled: Literal["fail", "accept"] = "fail",
    full: bool = False,
    max_failed: int | None = None,
    max_failed_ratio: float | None = None,
    max_invalid: int | None = None,
    max_invalid_ratio: float | None = None,
    timeout: float = 6 * 3600,
    translator: DagsterMaterializeTranslator | None = None,
    resources: BoundResources | None = None,
    pool: str | None = None,
    **attributes: Unpack[AssetAttributes],
) -> AssetsDefinition:
    """An asset that triggers a sync once and waits for its run.

    It needs the resource ``census`` (`CensusResource`), and with ``at`` ``object_store`` (`ObjectStoreResource`). Its
    check ``records_accepted`` blocks what depends on it where too many records were rejected.

    Args:
        sync: Id of the sync, the number in its address.
        after: The assets it reads: loads, as a rule.
        at: Folder that holds the record of its runs, ``s3://bucket/folder/``. Without one, a step that is killed and
            tried again does not know the run it had triggered.
        on_overlap: While another run is active: ``wait`` for it and then trigger, ``attach`` to it, or ``fail``.
        on_cancelled: Of a run that somebody cancels in Census: ``fail``, or ``accept`` it as the end.
        full: Send all records, not only what changed.
        max_failed: Records the destination may reject; none by default.
        max_failed_ratio: The same by records processed, 0 to 1.
        max_invalid: Records of the source that may be invalid; none by default.
        max_invalid_ratio: The same by records of the source, 0 to 1.
        timeout: Seconds the run may take, with the wait for another; then ours is cancelled.
        translator: Says what the asset is like.
        resources: Resources of this asset's own, in place of the code location's.
        pool: Pool that bounds how many steps run at a time.
        **attributes: Of the asset, over the translator's.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    from mz_orchestration.census.spec import sync_spec
    from mz_orchestration.objectstore.location import parse_folder

    spec = sync_spec(
        sync=sync,
        on_overlap=on_overlap,
        on_cancelled=on_cancelled,
        full=full,
        max_failed=max_failed,
        max_failed_ratio=max_failed_ratio,
        max_invalid=max_invalid,
        max_invalid_ratio=max_invalid_ratio,
        timeout=timeout,
    )
    if at is not None:
        at = str(parse_folder(at, field="at"))
    props = SyncProps(spec, f"sync {spec.sync}", upstream_keys(after, "after"))
    asset = with_attributes((translator or DagsterMaterializeTranslator()).get_asset_spec(props), attributes)
    return sync_op(asset, spec, at, name=op_name(asset.key), resources=resources, pool=pool)


def sync_op(
    asset: AssetSpec,
    spec: "SyncSpec",
    at: str | None,
    *,
    name: str,
    item: str = "",
    pipeline: str | None = None,
    resources: BoundResources | None,
    pool: str | None,
) -> AssetsDefinition:
    """The op of a sync.

    Args:
        asset: The sync's.
        spec: What is synced.
        at: Folder that holds the record of its runs; None keeps none.
        name: Of the op.
        item: By which name its pipeline knows it.
        pipeline: The pipeline it is a part of, if it is.
        resources: Those that are not the code location's.
        pool: Pool that bounds how many steps run at a time.
    """
    bound = resources or BoundResources()
    needed = {"census"} | ({"object_store"} if at is not None else set())
    check = AssetCheckSpec(
        ACCEPTED,
        asset=asset.key,
        blocking=True,
        description="No more records are invalid, or rejected by the destination, than may be.",
    )

    @multi_asset(name=name, specs=[asset], check_specs=[check], pool=pool, required_resource_keys=bound.keys(needed))
    def sync(context: AssetExecutionContext) -> Iterator[Result]:
        from mz_orchestration.census.sync import arun_sync
        from mz_orchestration.flow import run_coroutine

        key = context.asset_key
        with as_dagster_errors(context):
            tools = bound.tools(context, needed)
            work = arun_sync(
                spec,
                run_key=None if at is None else own_run_key(context, key, item, pipeline),
                at=at,
                census=tools.census,
                store=None if at is None else tools.store,
                on_event=tools.on_event,
            )
            try:
                result = run_coroutine(work)
            except RejectedRecordsError as error:
                yield failed_check(ACCEPTED, key, error)
                raise
            metadata = sync_metadata(result.to_metadata())
            counts = {name: value for name, value in metadata.items() if name.startswith("census/records_")}
            yield MaterializeResult(
                metadata=metadata,
                data_version=DataVersion(result.run.id),
                check_results=[AssetCheckResult(passed=True, check_name=ACCEPTED, asset_key=key, metadata=counts)],
            )

    return sync
