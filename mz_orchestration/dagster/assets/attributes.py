"""What every builder of an asset takes besides its own arguments, and hands to Dagster as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast

from dagster import AssetKey, AssetSelection, AssetSpec, AutomationCondition, FreshnessPolicy


class AssetAttributes(TypedDict, total=False):
    """Attributes of an `AssetSpec`, over those of the translator.

    ``deps``, ``tags``, ``metadata``, ``kinds`` and ``owners`` are added to its own, the others take their place.
    """

    key: AssetKey | Sequence[str] | str
    deps: Iterable[Any]
    description: str
    group_name: str
    owners: Sequence[str]
    tags: Mapping[str, str]
    metadata: Mapping[str, Any]
    kinds: set[str]
    code_version: str
    automation_condition: AutomationCondition[Any]
    freshness_policy: FreshnessPolicy


# How conditions of cron call themselves.
_CRON_LABEL = "on_cron("
_ADDED = frozenset({"deps", "owners", "tags", "metadata", "kinds"})


def with_attributes(spec: AssetSpec, attributes: AssetAttributes) -> AssetSpec:
    """The asset with a caller's attributes.

    Args:
        spec: The translator's.
        attributes: The caller's.
    """
    given = cast("dict[str, Any]", attributes)
    added = {name: value for name, value in given.items() if name in _ADDED}
    replaced = {name: value for name, value in given.items() if name not in _ADDED}
    return spec.replace_attributes(**replaced).merge_attributes(**added)


def without_waiting_for_objects(spec: AssetSpec) -> AssetSpec:
    """An export whose ``on_cron`` does not wait for objects that nobody materializes.

    ``on_cron`` wants every dependency updated since the tick. A view in Materialize is always up to date, but no event
    says so: an export with that condition would never run. Dependencies that something in the code location can
    materialize, such as dbt models, are waited for.

    Args:
        spec: The export's.
    """
    condition = spec.automation_condition
    if condition is None or not (condition.get_label() or "").startswith(_CRON_LABEL) or not spec.deps:
        return spec
    # All are those that can be materialized.
    ignored = AssetSelection.assets(*(dep.asset_key for dep in spec.deps)) - AssetSelection.all()
    # Every built-in condition of this label has it; the declared type does not say so.
    ignoring: Any = condition
    return spec.replace_attributes(automation_condition=ignoring.ignore(ignored))
