"""A manifest against what lies there later: what a late replica writes is a warning, anything else an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.manifest import DataFile, Manifest
from mz_orchestration.exports.paths import attempt_location
from mz_orchestration.exports.sentinel import read_listing
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.stored_manifest import check_against_store, publish_manifest, read_manifest
from mz_orchestration.exports.verify import verify_files
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location

from .conftest import BUCKET, COLUMNS, Answer, Request, Server, name, parquet

WHEN = datetime(2026, 11, 22, tzinfo=UTC)
BASE = Location(BUCKET, "nightly/")
FOLDER = attempt_location(BASE, "shop.orders", "monday", 1, WHEN)
SNAPPY, PLAIN, FEWER = parquet(100), parquet(100, compression="none"), parquet(99)


def write(server: Server, number: int, body: bytes, suffix: str = "parquet") -> None:
    server.put(BUCKET, FOLDER.key + name(number, suffix), body)


def exported(server: Server, store: ObjectStore, *bodies: bytes, csv: CsvOptions | None = None) -> Manifest:
    """The manifest of files that are put there now."""
    for number, body in enumerate(bodies):
        write(server, number, body, "csv" if csv else "parquet")
    verified = verify_files(store, FOLDER, read_listing(store.list_objects(FOLDER)).data, COLUMNS, csv)
    assert verified.rows is not None
    return Manifest(
        run_key="monday",
        attempt=1,
        export="shop.orders",
        object="shop.orders",
        base=str(BASE),
        path=str(FOLDER),
        format="csv" if csv else "parquet",
        csv=csv,
        spec_fingerprint="f",
        cluster="quickstart",
        timestamp=1_790_000_000_000,
        columns=tuple(COLUMNS),
        verified=VerifyLevel.FOOTERS,
        copied=verified.total,
        counted=None,
        rows=sum(verified.rows),
        files=tuple(
            DataFile(name=file.key.rpartition("/")[2], bytes=file.size, etag=file.etag, rows=rows)
            for file, rows in zip(verified.files, verified.rows, strict=True)
        ),
        started_at=WHEN,
        copied_at=WHEN,
        finished_at=WHEN,
        materialize_version="v26",
        written_by="1",
    ).hashed()


def recorded(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(mode="json")


def test_nothing_changed(server: Server, store: ObjectStore) -> None:
    manifest = exported(server, store, SNAPPY, PLAIN)
    server.log.clear()
    assert check_against_store(store, manifest, recorded(manifest)) == []
    assert len(server.gets()) == 2


def test_a_file_that_a_late_replica_wrote(server: Server, store: ObjectStore) -> None:
    manifest = exported(server, store, SNAPPY, SNAPPY)
    write(server, 1, PLAIN)
    (warning,) = check_against_store(store, manifest, recorded(manifest))
    assert f"{name(1)} in {FOLDER} was written again" in warning


def test_a_file_that_a_late_replica_writes_right_now(server: Server, store: ObjectStore) -> None:
    manifest = exported(server, store, SNAPPY, SNAPPY)

    def rewrite(request: Request) -> Answer | None:
        if request.path.endswith(name(1)):
            write(server, 1, PLAIN)
        return None

    server.hook = rewrite
    (warning,) = check_against_store(store, manifest, recorded(manifest))
    assert name(1) in warning


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (FEWER, "holds 99 rows since it was written again, 100 in the manifest"),
        (parquet(100, COLUMNS[:1]), "has the columns id where id, name"),
        (parquet(100, [COLUMNS[0], Column(name="name", type="bigint")]), "holds bigint in the column name"),
        (SNAPPY[:-1] + b"X", "is not a complete Parquet file"),
    ],
)
def test_a_file_that_somebody_else_wrote(server: Server, store: ObjectStore, body: bytes, said: str) -> None:
    manifest = exported(server, store, SNAPPY, SNAPPY)
    write(server, 1, body)
    with pytest.raises(VerificationError, match=f"{name(1)} {said}"):
        check_against_store(store, manifest, recorded(manifest))


def test_rows_that_moved_from_file_to_file(server: Server, store: ObjectStore) -> None:
    """The sum agrees, the files do not: Snowflake's counts are compared file by file."""
    manifest = exported(server, store, SNAPPY, SNAPPY)
    write(server, 0, FEWER)
    write(server, 1, parquet(101))
    with pytest.raises(VerificationError, match=rf"{name(0)} holds 99 rows.*; {name(1)} holds 101 rows"):
        check_against_store(store, manifest, recorded(manifest))


@pytest.mark.parametrize(
    ("key", "said"), [(name(2), "is not in the manifest"), ("mz-t7-INCOMPLETE", "an export is being written there")]
)
def test_a_file_too_many(server: Server, store: ObjectStore, key: str, said: str) -> None:
    manifest = exported(server, store, SNAPPY)
    server.put(BUCKET, FOLDER.key + key, SNAPPY)
    with pytest.raises(VerificationError, match=said):
        check_against_store(store, manifest, recorded(manifest))


def test_files_that_are_gone_are_named(server: Server, store: ObjectStore) -> None:
    manifest = exported(server, store, *[SNAPPY] * 15)
    for number in range(1, 15):
        server.delete(BUCKET, FOLDER.key + name(number))
    with pytest.raises(VerificationError, match=rf"{name(1)} is gone; .* and 4 more\.") as caught:
        check_against_store(store, manifest, recorded(manifest))
    assert caught.value.details == {"findings": 14}


def test_csv_is_counted_only_where_it_must_be(server: Server, store: ObjectStore) -> None:
    manifest = exported(server, store, b"1,a\n2,b\n", b"3,c\n", csv=CsvOptions())
    server.log.clear()
    assert check_against_store(store, manifest, recorded(manifest)) == []
    assert server.gets() == []
    assert check_against_store(store, manifest, None) == []
    assert len(server.gets()) == 2
    write(server, 0, b"2,b\n1,a\n", "csv")
    server.log.clear()
    (warning,) = check_against_store(store, manifest, recorded(manifest))
    assert name(0, "csv") in warning
    assert len(server.gets()) == 1
    write(server, 0, b"2,b\n1,a\n3,c\n", "csv")
    with pytest.raises(VerificationError, match="holds 3 rows since it was written again, 2 in the manifest"):
        check_against_store(store, manifest, recorded(manifest))


def test_csv_that_somebody_else_wrote(server: Server, store: ObjectStore) -> None:
    """A replica writes the same rows, so that what a batch holds takes the same bytes."""
    manifest = exported(server, store, b"1,a\n2,b\n", b"3,c\n", csv=CsvOptions())
    write(server, 0, b"1,a\n2,bb\n", "csv")
    with pytest.raises(
        VerificationError, match=r"mz-t7-batch-0000-\* have 9 bytes since they were written again, 8 in the manifest"
    ):
        check_against_store(store, manifest, recorded(manifest))
    write(server, 0, b"onlyonefield\n\n", "csv")
    with pytest.raises(VerificationError, match=rf"{name(0, 'csv')} has 1 field in its first record, not the 2"):
        check_against_store(store, manifest, recorded(manifest))


def test_csv_rows_that_moved_within_their_batch(server: Server, store: ObjectStore) -> None:
    manifest = exported(server, store, b"1,a\n2,b\n", csv=CsvOptions())
    second = f"{FOLDER.key}mz-t7-batch-0000-0001.csv"
    server.put(BUCKET, second, b"3,c\n4,dd\n")
    manifest = exported(server, store, b"1,a\n2,b\n", csv=CsvOptions())
    write(server, 0, b"2,b\n4,dd\n", "csv")
    with pytest.raises(VerificationError, match=r"mz-t7-batch-0000-\* have 18 bytes .*, 17 in the manifest"):
        check_against_store(store, manifest, recorded(manifest))

    def rewrite(request: Request) -> Answer | None:
        """The other file is as slow; whichever of the two is asked for first."""
        if request.path.endswith((name(0, "csv"), "0000-0001.csv")):
            server.put(BUCKET, second, b"3,c\n1,a\n")
        return None

    server.hook = rewrite
    (warning,) = check_against_store(store, manifest, None)
    assert name(0, "csv") in warning
    assert "0000-0001.csv" in warning


def test_the_manifest_of_a_killed_process_stays(server: Server, store: ObjectStore) -> None:
    """It has the ETags from before a late replica wrote the files again."""
    earlier = exported(server, store, SNAPPY, SNAPPY)
    assert publish_manifest(store, earlier) == earlier
    adopted = exported(server, store, SNAPPY, PLAIN).model_copy(
        update={"copied": None, "finished_at": WHEN + timedelta(minutes=5)}
    )
    assert publish_manifest(store, adopted.hashed()) == earlier
    assert read_manifest(store, earlier.location) == earlier
    other = exported(server, store, SNAPPY, FEWER)
    with pytest.raises(VerificationError, match="describes other files"):
        publish_manifest(store, other)
    unlike = earlier.model_copy(update={"copied": 5}).hashed()
    with pytest.raises(VerificationError, match="describes other files"):
        publish_manifest(store, unlike)


@pytest.mark.parametrize("listed_first", [True, False])
def test_the_manifest_of_a_killed_process_that_looked_less_closely(
    server: Server, store: ObjectStore, listed_first: bool
) -> None:
    counted = exported(server, store, SNAPPY, SNAPPY)
    only_listed = counted.model_copy(
        update={
            "verified": VerifyLevel.LISTING,
            "files": tuple(file.model_copy(update={"rows": None}) for file in counted.files),
        }
    ).hashed()
    earlier, later = (only_listed, counted) if listed_first else (counted, only_listed)
    assert publish_manifest(store, earlier) == earlier
    assert publish_manifest(store, later) == earlier
    fewer = later.model_copy(update={"files": later.files[:1]}).hashed()
    with pytest.raises(VerificationError, match="describes other files"):
        publish_manifest(store, fewer)
