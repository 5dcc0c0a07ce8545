"""The sensors of a component: for its exports that are made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dagster import AssetKey, AssetSpec, SensorDefinition

from mz_orchestration.dagster.keys import plain_name
from mz_orchestration.dagster.resources import ObjectStoreResource
from mz_orchestration.dagster.sensors.export_completion import build_export_completion_sensor

if TYPE_CHECKING:
    from mz_orchestration.exports.watch.arrival import Arrival
    from mz_orchestration.pipelines.planning import Plan


def completion_sensors(
    plan: Plan, specs: Mapping[str, AssetSpec], object_store: ObjectStoreResource | None
) -> list[SensorDefinition]:
    """One for each folder that the plan exports to; exports that the plan does not know are left out.

    Args:
        plan: The plan.
        specs: All its assets, by the names of their nodes.
        object_store: The store, if it is the component's own.
    """
    from mz_orchestration.pipelines.planning import LoadNode

    folders: dict[str, dict[str, AssetKey]] = {}
    for node in plan.exports:
        folders.setdefault(str(node.spec.base), {})[node.spec.folder_name] = specs[node.name].key
    loads = [specs[node.name] for node in plan.nodes if isinstance(node, LoadNode)]
    name = f"{plain_name(plan.spec.name)}_elsewhere"

    def sensor_of(number: int, folder: str, keys: Mapping[str, AssetKey]) -> SensorDefinition:
        def asset_key_of(arrival: Arrival) -> AssetKey | None:
            return keys.get(arrival.export)

        return build_export_completion_sensor(
            folder=folder,
            name=name if len(folders) == 1 else f"{name}_{number}",
            loads=[load for load in loads if {dep.asset_key for dep in load.deps} & set(keys.values())],
            asset_key_of=asset_key_of,
            object_store=object_store,
        )

    return [sensor_of(number, folder, keys) for number, (folder, keys) in enumerate(folders.items(), 1)]
