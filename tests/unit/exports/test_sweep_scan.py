from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.sweep import parse_sweep_folder
from mz_orchestration.exports.sweep.scan import Scan, look_again
from mz_orchestration.objectstore.client import ObjectInfo, Upload
from mz_orchestration.objectstore.location import Location

BASE = Location("bucket", "exports/")
AT = datetime(2026, 11, 20, tzinfo=UTC)
FIRST, SECOND = "20261120T000000Z-0123abcd-01/", "20261120T000100Z-0123abcd-02/"
RECORD = f".runs/shop.orders/0123abcd{'0' * 24}.json"


def objects(*names: str) -> list[ObjectInfo]:
    return [ObjectInfo(BASE.key + name, 5, "e", AT) for name in sorted(names)]


ALL = objects(
    RECORD,
    ".runs/shop.orders/notes.txt",
    ".groups/0123.json",
    "notes.txt",
    f"shop.orders/{FIRST}mz-t1-INCOMPLETE",
    f"shop.orders/{FIRST}mz-t1-batch-0000-0000.parquet",
    f"shop.orders/{FIRST}readme.md",
    f"shop.orders/{FIRST}deeper/mz-t1-INCOMPLETE",
    f"shop.orders/{SECOND}_manifest.json",
    f"shop.orders/{SECOND}mz-t2-batch-0000-0000.parquet",
    "shop.orders/_latest.json",
    "shop.orders/mz-t1-INCOMPLETE",
    "shop.orders/20261120/mz-t1-INCOMPLETE",
    f"nested/base/shop.orders/{FIRST}mz-t1-INCOMPLETE",
)


def scanned(root: Location, found: list[ObjectInfo]) -> Scan:
    scan = Scan(root)
    scan.add_objects(found[:5])
    scan.add_objects(found[5:])
    return scan


def test_a_base() -> None:
    scan = scanned(BASE, ALL)
    first, second = scan.folders()
    assert (first.location, first.base, first.export, first.run) == (
        BASE.child(f"shop.orders/{FIRST}"),
        BASE,
        "shop.orders",
        "0123abcd",
    )
    assert [item.key.rpartition("/")[2] for item in first.objects] == [
        "mz-t1-INCOMPLETE",
        "mz-t1-batch-0000-0000.parquet",
    ]
    assert (first.finished, first.size, first.others) == (False, 10, 1)
    assert (second.finished, second.objects) == (True, ())
    assert [str(entry.location) for entry in scan.records] == [str(BASE.child(RECORD))]
    assert scan.records[0].run == "0123abcd"
    # notes.txt, readme.md, the deeper one, two that lie in no attempt, and the nested base's.
    assert scan.others == 6


def test_a_single_exports_folder_leads_to_the_same_attempts() -> None:
    export = BASE.child("shop.orders/")
    below = [item for item in ALL if item.key.startswith(export.key)]
    scan = scanned(export, below)
    assert scan.folders() == scanned(BASE, ALL).folders()
    scan.add_records(BASE, "shop.orders", objects(RECORD, ".runs/shop.orders/notes.txt"))
    assert scan.records == scanned(BASE, ALL).records


def test_a_first_folder_of_a_bucket_is_no_export() -> None:
    """Its base would be the bucket itself, which exports refuse."""
    root = Location("bucket", "exports/")
    assert Scan(root).folders() == []
    scan = scanned(root, [ObjectInfo(f"exports/{FIRST}mz-t1-INCOMPLETE", 0, "e", AT)])
    assert (scan.folders(), scan.others) == ([], 1)


def test_uploads() -> None:
    scan = Scan(BASE)
    ours = Upload(f"exports/shop.orders/{FIRST}mz-t1-batch-0000-0000.parquet", "u1", AT)
    scan.add_uploads([ours, Upload(f"exports/shop.orders/{FIRST}film.mp4", "u2", AT), Upload("exports/x", "u3", AT)])
    [folder] = scan.folders()
    assert (folder.uploads, folder.objects, scan.other_uploads) == ((ours,), (), 2)


def test_looking_again() -> None:
    folder = scanned(BASE, ALL).folders()[0]
    assert look_again(folder, [item for item in ALL if item.key.startswith(folder.location.key)], []).size == 10
    finished = objects(f"shop.orders/{FIRST}_manifest.json", f"shop.orders/{FIRST}mz-t1-batch-0000-0000.parquet")
    assert look_again(folder, finished, []).finished
    empty = look_again(folder, [], [])
    assert (empty.location, empty.objects, empty.finished) == (folder.location, (), False)


@pytest.mark.parametrize(
    "where", ["s3://bucket/", f"s3://bucket/exports/shop.orders/{FIRST}", "s3://bucket/exports/.runs/", "exports"]
)
def test_folders_that_are_not_swept(where: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_sweep_folder(where)
