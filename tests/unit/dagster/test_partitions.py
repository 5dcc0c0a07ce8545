"""Which partitions of an export are of the past."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mz_orchestration.dagster.assets.definition import ExportDefinition
from mz_orchestration.dagster.assets.partitions import export_backfills, refuse_the_past, spec_for
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.spec import export_spec

KEY = dg.AssetKey("export")
DAYS = dg.DailyPartitionsDefinition("2026-01-01")
HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")
BERLIN = dg.DailyPartitionsDefinition("2026-01-01", timezone="Europe/Berlin")
CURRENT = dg.DailyPartitionsDefinition("2026-01-01", end_offset=1)


def context(partitions: dg.PartitionsDefinition[str], key: str) -> Any:
    return SimpleNamespace(
        assets_def=SimpleNamespace(partitions_def=partitions),
        has_partition_key=True,
        has_partition_key_range=False,
        partition_keys=[key],
    )


@pytest.mark.parametrize(
    ("partitions", "key", "now", "refused"),
    [
        (DAYS, "2026-03-01", "2026-03-02T00:00:05+00:00", False),
        (DAYS, "2026-03-01", "2026-03-02T23:59:59+00:00", False),
        (DAYS, "2026-03-01", "2026-03-03T00:00:00+00:00", True),
        (HOURS, "2026-03-01-05:00", "2026-03-01T06:59:59+00:00", False),
        (HOURS, "2026-03-01-05:00", "2026-03-01T07:00:00+00:00", True),
        # Midnight there is an hour earlier.
        (BERLIN, "2026-03-01", "2026-03-02T22:59:59+00:00", False),
        (BERLIN, "2026-03-01", "2026-03-02T23:00:00+00:00", True),
        # The day that has only begun.
        (CURRENT, "2026-03-02", "2026-03-02T12:00:00+00:00", False),
    ],
)
def test_what_is_of_the_past(partitions: dg.PartitionsDefinition[str], key: str, now: str, refused: bool) -> None:
    moment = datetime.fromisoformat(now)
    if not refused:
        refuse_the_past(context(partitions, key), KEY, moment)
        return
    with pytest.raises(ConfigurationError, match=f"export: the partition {key} ended at") as error:
        refuse_the_past(context(partitions, key), KEY, moment)
    assert "allow_backfill=True" in (error.value.hint or "")


def test_only_time_is_split() -> None:
    with pytest.raises(ConfigurationError, match="StaticPartitionsDefinition does not split time"):
        export_backfills(dg.StaticPartitionsDefinition(["a", "b"]))
    assert export_backfills(DAYS) == dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
    assert export_backfills(None) is None


def test_folders_of_partitions() -> None:
    spec = export_spec(object="shop.orders", to="s3://bucket/exports", connection="c")
    whole = ExportDefinition(spec=spec, name="shop.orders", source="shop.orders")
    definition = whole.model_copy(update={"partition_folders": True})
    assert spec_for(definition, "2026-03-01-05:00").to == "s3://bucket/exports/2026-03-01-05-00/"
    assert spec_for(definition, None) == spec
    assert spec_for(whole, "2026-03-01") == spec
