"""Names in Dagster: keys of assets, names of ops, and the logical run that a step belongs to."""

from __future__ import annotations

import re

from dagster import AssetExecutionContext, AssetKey


def asset_key(system: str, name: tuple[str, ...]) -> AssetKey:
    """The key of an asset in a system, from the parts of its name there."""
    # Dagster makes names of inputs from the keys of dependencies, and those hold nothing else.
    return AssetKey([system, *(re.sub(r"[^A-Za-z0-9_]", "_", part.lower()) for part in name)])


def logical_run(context: AssetExecutionContext) -> str:
    """The run's id; that of the first run where this one goes on from a failure, to pick up what that one left."""
    resumed = context.run.tags.get("dagster/is_resume_retry") == "true"
    return context.run.root_run_id if resumed and context.run.root_run_id else context.run.run_id


def op_name(key: AssetKey) -> str:
    """The name of the op that makes an asset."""
    return "__".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in key.path)
