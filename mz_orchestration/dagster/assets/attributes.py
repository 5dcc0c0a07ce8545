"""What every builder of an asset takes besides its own arguments, and hands to Dagster as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast

from dagster import AssetKey, AssetSpec, AutomationCondition, FreshnessPolicy


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
