"""Names in Dagster: keys of assets, names of ops and pools, and the logical run that a step belongs to."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from dagster import AssetExecutionContext, AssetKey, AssetSpec, OpExecutionContext

from mz_orchestration.errors import ConfigurationError

# What an automatic retry of a run, and one "from failure", carry. Neither asks for something new.
_GOES_ON = {"dagster/is_resume_retry": "true"}
_RETRIES = "dagster/retry_number"


def asset_key(system: str, name: tuple[str, ...]) -> AssetKey:
    """The key of an asset in a system, from the parts of its name there."""
    # Dagster makes names of inputs from the keys of dependencies, and those hold nothing else.
    return AssetKey([system, *(_plain(part.lower()) for part in name)])


def logical_run(context: AssetExecutionContext | OpExecutionContext) -> str:
    """The run's id; that of the first run where this one goes on from a failure, to pick up what that one left."""
    tags = context.run.tags
    goes_on = _RETRIES in tags or any(tags.get(name) == value for name, value in _GOES_ON.items())
    return context.run.root_run_id if goes_on and context.run.root_run_id else context.run.run_id


def own_run_key(
    context: AssetExecutionContext | OpExecutionContext, key: AssetKey, item: str, pipeline: str | None
) -> str:
    """The run key of an export or a sync: the same in every step that goes on with one run, and in no other.

    Args:
        context: The step's.
        key: Of its asset.
        item: By which name its pipeline knows it.
        pipeline: The pipeline it is a part of, by whose retention it is found again; None for one that stands alone.
    """
    if pipeline is None:
        return f"{logical_run(context)}/{key.to_user_string()}"
    from mz_orchestration.pipelines.record import node_run_key

    return node_run_key(pipeline, logical_run(context), item)


def op_name(key: AssetKey) -> str:
    """The name of the op that makes an asset."""
    return "__".join(_plain(part) for part in key.path)


def plain_name(text: str) -> str:
    """A text as the name of a group, a job or a pool."""
    return _plain(text)


def cluster_pool(cluster: str | None) -> str:
    """The pool of exports that run on a cluster: bounding it bounds how many COPYs run there at a time."""
    return "materialize" if cluster is None else f"materialize_{_plain(cluster)}"


def told_apart(specs: dict[str, AssetSpec]) -> dict[str, AssetSpec]:
    """Assets whose keys came out alike get a suffix that is the same in every code location.

    Args:
        specs: By names that differ.
    """
    uses = Counter(spec.key for spec in specs.values())
    # Two syncs of one id, two loads into one table, names that differ only in what a key cannot hold.
    return {
        name: spec
        if uses[spec.key] == 1
        else spec.replace_attributes(key=AssetKey([*spec.key.path, hashlib.sha256(name.encode()).hexdigest()[:8]]))
        for name, spec in specs.items()
    }


def refuse_collisions(specs: Sequence[AssetSpec], names: Sequence[str]) -> None:
    """Refuse assets of one key.

    Args:
        specs: The assets.
        names: What each stands for, in the same order.

    Raises:
        ConfigurationError: Two have one key; both are named.
    """
    seen: dict[AssetKey, str] = {}
    for spec, name in zip(specs, names, strict=True):
        if spec.key in seen:
            raise ConfigurationError(
                f"{seen[spec.key]} and {name} would both be the asset {spec.key.to_user_string()}.",
                hint="Give one of them another key: override get_asset_spec of the translator.",
            )
        seen[spec.key] = name


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
