"""How deeply files are verified, what that costs, and what it finds."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from mz_orchestration.errors import UnavailableError, VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify import CountedBy, verify_files
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.materialize.types import Column
from mz_orchestration.objectstore.client import ObjectInfo, ObjectStore

from .conftest import BUCKET, COLUMNS, FOLDER, Server, listed, name, parquet, put

KIB = 1024


def test_footers_take_one_request_and_eight_kibibytes(server: Server, store: ObjectStore) -> None:
    put(server, parquet(30_000), parquet(0), parquet(25_000))
    files = listed(store)
    server.log.clear()
    verified = verify_files(store, FOLDER, files, COLUMNS, None)
    assert verified.rows == (30_000, 0, 25_000)
    assert verified.total == 55_000
    assert verified.counted_by is CountedBy.FOOTER
    assert verified.source_types == {"id": "bigint", "name": "text"}
    assert verified.files == tuple(files)
    assert verified.warnings == ()
    asked = [(request.path.rpartition("/")[2], request.headers["range"]) for request in server.gets()]
    assert sorted(asked) == [
        (file.key.rpartition("/")[2], f"bytes={max(0, file.size - 8 * KIB)}-{file.size - 1}") for file in files
    ]
    assert {request.headers["if-match"].strip('"') for request in server.gets()} == {file.etag for file in files}


def test_a_listing_takes_no_request(server: Server, store: ObjectStore) -> None:
    put(server, parquet(3))
    files = listed(store)
    server.log.clear()
    verified = verify_files(store, FOLDER, files, COLUMNS, None, VerifyLevel.LISTING)
    assert (verified.files, verified.rows, verified.total, verified.counted_by) == (tuple(files), None, None, None)
    assert server.log == []


@pytest.mark.parametrize(("file", "csv"), [(name(0), CsvOptions()), (name(0, "csv"), None), (name(0), None)])
def test_what_a_listing_shows(store: ObjectStore, file: str, csv: CsvOptions | None) -> None:
    with pytest.raises(VerificationError, match=rf"{file} in .* cannot be"):
        verify_files(store, FOLDER, [ObjectInfo(FOLDER.key + file, 11, "e")], COLUMNS, csv, VerifyLevel.LISTING)


@pytest.mark.parametrize("level", [VerifyLevel.FOOTERS, VerifyLevel.FULL])
def test_csv_is_counted_to_the_last_byte(server: Server, store: ObjectStore, level: VerifyLevel) -> None:
    put(server, b'id,name\n1,"a\nb"\n2,b\n', b"id,name\n", suffix="csv")
    verified = verify_files(store, FOLDER, listed(store), COLUMNS, CsvOptions(header=True), level)
    assert verified.rows == (2, 0)
    assert verified.counted_by is CountedBy.RECORDS
    assert verified.source_types == {}


def test_a_csv_file_that_is_cut_off_is_named(server: Server, store: ObjectStore) -> None:
    put(server, b"1,a\n", b"1,a\n2", suffix="csv")
    with pytest.raises(VerificationError, match=rf"{name(1, 'csv')} ends in the middle of a record"):
        verify_files(store, FOLDER, listed(store), COLUMNS, CsvOptions())


@pytest.mark.parametrize(
    ("body", "csv", "said"),
    [
        (b"onlyonefield\n", CsvOptions(), "1 field in its first record, not the 2 that were exported"),
        (b"id,title\n", CsvOptions(header=True), "calls column 2 'title' in its header line, where 'name'"),
    ],
)
def test_a_csv_file_with_other_columns_is_named(
    server: Server, store: ObjectStore, body: bytes, csv: CsvOptions, said: str
) -> None:
    put(server, b"id,name\n", body, suffix="csv")
    with pytest.raises(VerificationError, match=rf"{name(1, 'csv')} .*{said}"):
        verify_files(store, FOLDER, listed(store), COLUMNS, csv)


def test_full_decodes_every_value(server: Server, store: ObjectStore) -> None:
    put(server, parquet(5_000, row_group_size=700), parquet(0), parquet(1))
    files = listed(store)
    server.log.clear()
    verified = verify_files(store, FOLDER, files, COLUMNS, None, VerifyLevel.FULL)
    assert verified.rows == (5_000, 0, 1)
    assert verified.counted_by is CountedBy.VALUES
    assert verified.source_types == {"id": "bigint", "name": "text"}
    assert [request.headers.get("range") for request in server.gets()] == [None, None, None]


def test_full_finds_what_footers_cannot_show(server: Server, store: ObjectStore) -> None:
    whole = parquet(5_000)
    put(server, whole[:100] + bytes(400) + whole[500:])
    assert verify_files(store, FOLDER, listed(store), COLUMNS, None).rows == (5_000,)
    with pytest.raises(VerificationError, match=rf"{name(0)} is a damaged Parquet file"):
        verify_files(store, FOLDER, listed(store), COLUMNS, None, VerifyLevel.FULL)


def test_full_finds_a_byte_that_flipped_where_pages_carry_checksums(server: Server, store: ObjectStore) -> None:
    whole = bytearray(parquet(5_000, write_page_checksum=True, compression="none", use_dictionary=False))
    at = bytes(whole).index((2_500).to_bytes(8, "little"))
    whole[at] ^= 1
    put(server, bytes(whole))
    with pytest.raises(VerificationError, match="is a damaged Parquet file"):
        verify_files(store, FOLDER, listed(store), COLUMNS, None, VerifyLevel.FULL)


def test_no_room_for_a_file_while_it_is_decoded(server: Server, store: ObjectStore) -> None:
    put(server, parquet(5_000))
    files = listed(store)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(UnavailableError, match=rf"{name(0)} cannot be kept in .*File too large") as caught:
            verify_files(store, FOLDER, files, COLUMNS, None, VerifyLevel.FULL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("level", [VerifyLevel.FOOTERS, VerifyLevel.FULL])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda body: body[: len(body) // 2], "is not a complete Parquet file"),
        (lambda body: b"", "is not a complete Parquet file"),
        (lambda body: b"id,name\n1,a\n", "is not a complete Parquet file"),
        (lambda body: body[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1", "is not a complete Parquet file"),
        (lambda body: body[:-300] + bytes(292) + body[-8:], "damaged Parquet"),
        (lambda body: parquet(3, COLUMNS[:1]), "has the columns id where id, name were exported"),
        (
            lambda body: parquet(3, [COLUMNS[0], Column(name="name", type="bigint")]),
            "holds bigint in the column name, where text was exported",
        ),
    ],
)
def test_damaged_files_are_named(
    server: Server, store: ObjectStore, level: VerifyLevel, damage: Callable[[bytes], bytes], said: str
) -> None:
    whole = parquet(100)
    put(server, whole, damage(whole), whole)
    with pytest.raises(VerificationError, match=f"{name(1)}.*{said}"):
        verify_files(store, FOLDER, listed(store), COLUMNS, None, level)


@pytest.mark.parametrize("level", [VerifyLevel.FOOTERS, VerifyLevel.FULL])
def test_a_thousand_columns(server: Server, store: ObjectStore, level: VerifyLevel) -> None:
    columns = [Column(name=f"column {number}", type="bigint") for number in range(1_000)]
    put(server, *[parquet(10, columns)] * 3)
    verified = verify_files(store, FOLDER, listed(store), columns, None, level)
    assert verified.rows == (10, 10, 10)
    assert verified.source_types is not None
    assert len(verified.source_types) == 1_000


def test_ten_thousand_files(server: Server, store: ObjectStore) -> None:
    body = parquet(3_000)
    put(server, *[body] * 10_000)
    files = listed(store)
    server.log.clear()
    server.requests.clear()
    verified = verify_files(store, FOLDER, files, COLUMNS, None)
    assert verified.total == 30_000_000
    assert len(server.log) == 10_000
    assert server.requests["bytes"] == 10_000 * 8 * KIB


def test_nothing_to_verify(server: Server, store: ObjectStore) -> None:
    assert verify_files(store, FOLDER, [], COLUMNS, None).rows == ()
    assert server.buckets.get(BUCKET) is None


def test_the_first_error_ends_it(server: Server, store: ObjectStore) -> None:
    put(server, b"damaged", *[parquet(1)] * 2_000)
    files = listed(store)
    server.log.clear()
    with pytest.raises(VerificationError, match=name(0)):
        verify_files(store, FOLDER, files, COLUMNS, None)
    assert len(server.log) < 1_000
