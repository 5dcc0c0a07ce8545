from __future__ import annotations

import pytest

from mz_orchestration.exports.sentinel import ExportState, read_listing
from mz_orchestration.objectstore.client import ObjectInfo

P = "exports/shop.orders/20261122T000000Z-00000000-01/"
SENTINEL = "mz-t12-INCOMPLETE"
DATA = "mz-t12-batch-0000-0000.parquet"


@pytest.mark.parametrize(
    ("names", "state"),
    [
        ([], ExportState.EMPTY),
        ([SENTINEL], ExportState.RUNNING),
        ([SENTINEL, DATA], ExportState.RUNNING),
        ([DATA], ExportState.COMPLETE),
        (["mz-t12-batch-0000-0001.csv"], ExportState.COMPLETE),
        ([DATA, "_manifest.json"], ExportState.COMPLETE),
        ([""], ExportState.EMPTY),  # some tools leave an object for the folder itself
    ],
)
def test_state(names: list[str], state: ExportState) -> None:
    assert read_listing(ObjectInfo(P + name, 1, "e") for name in names).state is state


def test_strangers_are_named() -> None:
    listing = read_listing(ObjectInfo(P + name, 1, "e") for name in [DATA, "notes.txt"])
    assert listing.strangers == ("notes.txt",)
    assert [item.key for item in listing.data] == [P + DATA]


def test_two_exports_in_one_path_are_strangers_to_each_other() -> None:
    names = [DATA, "mz-t13-batch-0000-0000.parquet"]
    assert read_listing(ObjectInfo(P + name, 1, "e") for name in names).strangers == ("t12", "t13")
