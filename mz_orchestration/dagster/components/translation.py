"""A component as a translator, which sees to it that no two assets become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import AssetKey, AssetSpec

from mz_orchestration.dagster.translator import DagsterMaterializeTranslator, ObjectProps, Props, RetentionProps
from mz_orchestration.pipelines.document import Place

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.base import PlanComponent


class ComponentTranslator(DagsterMaterializeTranslator):
    """Asks the component, whose `get_asset_spec` may be overridden, also for the keys that others refer to."""

    def __init__(self, component: PlanComponent) -> None:
        self._component = component
        # What was asked for, by the key it has and the one it would have had.
        self._told: dict[AssetKey, dict[AssetKey, Props]] = {}

    def get_asset_spec(self, props: Props) -> AssetSpec:
        """The component's.

        Args:
            props: What the asset stands for.
        """
        spec = self._component.get_asset_spec(props)
        if not isinstance(props, ObjectProps):
            own = super().get_asset_spec(props)
            self._told.setdefault(spec.key, {}).setdefault(own.key, props)
        return spec

    def collisions(self) -> list[tuple[Place, str]]:
        """Assets that would have had keys of their own, and were given the same: where, and what to do.

        Those that have one key by nature, such as two loads into one table, are told apart elsewhere.
        """
        found: list[tuple[Place, str]] = []
        for key, by_own_key in self._told.items():
            first, *others = by_own_key.values()
            for props in others:
                place, entry = self._component.entry(props) or ((), None)
                within = (*place, "translation") if entry is not None and entry.translation else ("translation",)
                text = (
                    f"{_name(first)!r} and {_name(props)!r} would both be the asset {key.to_user_string()}; use "
                    "key_prefix, or {{ props.name }} in the key"
                )
                found.append((within, text))
        return found


def _name(props: Props) -> str:
    match props:
        case ObjectProps():
            return props.object
        case RetentionProps():
            return "retention"
        case _:
            return props.name
