"""What Dagster knows already: so that a sensor neither tells of Dagster's own work nor tells of anything twice.

Dagster stores the events of a tick, then requests its runs, then stores its cursor. Whoever dies in between leaves
events without a cursor, so a tick may be told of the same thing again: an event is recognised by what it is about, a
run by its run key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dagster import AssetKey, DagsterInstance

_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of one asset: what a tick told of before its daemon died was told lately.
_LOOKED_THROUGH = 100


class Known:
    """What an instance knows, asked once for each asset and run.

    Args:
        instance: The instance.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self._told: dict[AssetKey, list[Mapping[str, Any]]] = {}
        self._runs: dict[str, bool] = {}

    def made_here(self, run_key: str) -> bool:
        """Whether the run key of an export names a run of this instance, which tells of the export itself.

        Args:
            run_key: The export's: ``<run>/<asset>``, or ``<pipeline>/<run>/<part>``.
        """
        for part in run_key.split("/")[:2]:
            if _RUN_ID.fullmatch(part):
                if part not in self._runs:
                    self._runs[part] = self._instance.get_run_by_id(part) is not None
                if self._runs[part]:
                    return True
        return False

    def told(self, asset: AssetKey, name: str, value: str) -> bool:
        """Whether one of the latest materializations or observations of an asset has a value in its metadata.

        Args:
            asset: Its key.
            name: Of the metadata.
            value: As text.
        """
        if asset not in self._told:
            made = self._instance.fetch_materializations(asset, limit=_LOOKED_THROUGH).records
            seen = self._instance.fetch_observations(asset, limit=_LOOKED_THROUGH).records
            events = [each.asset_materialization or each.asset_observation for each in (*made, *seen)]
            self._told[asset] = [each.metadata for each in events if each is not None]
        return any(name in each and str(each[name].value) == value for each in self._told[asset])
