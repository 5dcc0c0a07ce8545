"""A slower replica writes the files again while they are verified."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mz_orchestration.errors import VerificationError
from mz_orchestration.exports.spec import CsvOptions
from mz_orchestration.exports.verify import verify_files
from mz_orchestration.exports.verify.files import ROUNDS
from mz_orchestration.exports.verify_level import VerifyLevel
from mz_orchestration.objectstore.client import ObjectStore

from .conftest import BUCKET, COLUMNS, FOLDER, Answer, Request, Server, listed, name, parquet, put

LEVELS = [VerifyLevel.FOOTERS, VerifyLevel.FULL]
PLAIN, SNAPPY, FEWER = parquet(100, compression="none"), parquet(100), parquet(99)


@pytest.mark.parametrize("level", LEVELS)
def test_other_bytes_with_the_same_rows_are_a_warning(server: Server, store: ObjectStore, level: VerifyLevel) -> None:
    put(server, *[SNAPPY] * 8)
    files = listed(store)
    server.put(BUCKET, FOLDER.key + name(3), PLAIN)
    server.put(BUCKET, FOLDER.key + name(5), PLAIN)
    verified = verify_files(store, FOLDER, files, COLUMNS, None, level)
    assert verified.rows == (100,) * 8
    assert verified.files == tuple(listed(store))
    (warning,) = verified.warnings
    assert f"{name(3)}, {name(5)} in {FOLDER} were written again" in warning
    assert len(server.gets(name(3))) == 2 or level is VerifyLevel.FOOTERS
    assert len(server.gets(name(0))) == 1


def without(*headers: str) -> Callable[[Request], None]:
    """A store that does not know these headers."""

    def ignore(request: Request) -> None:
        for header in headers:
            request.headers.pop(header, None)

    return ignore


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("then", "now"), [(SNAPPY, PLAIN), (PLAIN, SNAPPY)])
def test_a_store_that_knows_no_conditions(
    server: Server, store: ObjectStore, level: VerifyLevel, count: int, then: bytes, now: bytes
) -> None:
    put(server, *[then] * count)
    files = listed(store)
    put(server, *[now] * count)
    server.hook = without("if-match")
    verified = verify_files(store, FOLDER, files, COLUMNS, None, level)
    assert verified.files == tuple(listed(store))
    assert len(verified.warnings) == 1


def test_csv_of_a_store_that_knows_no_conditions(server: Server, store: ObjectStore) -> None:
    put(server, b"1,a\n2,b\n", suffix="csv")
    files = listed(store)
    put(server, b"2,b\n1,a\n", suffix="csv")
    server.hook = without("if-match")
    verified = verify_files(store, FOLDER, files, COLUMNS, CsvOptions())
    assert verified.files == tuple(listed(store))


def test_the_same_bytes_are_no_news(server: Server, store: ObjectStore) -> None:
    put(server, SNAPPY)
    files = listed(store)
    put(server, SNAPPY)
    assert verify_files(store, FOLDER, files, COLUMNS, None).warnings == ()


def test_csv(server: Server, store: ObjectStore) -> None:
    put(server, b"1,a\n2,b\n", suffix="csv")
    files = listed(store)
    put(server, b"2,b\n1,a\n", suffix="csv")
    verified = verify_files(store, FOLDER, files, COLUMNS, CsvOptions())
    assert verified.rows == (2,)
    assert len(verified.warnings) == 1


def test_a_file_verified_before_the_change_is_verified_again(server: Server, store: ObjectStore) -> None:
    """The listing that follows shows that it changed too."""
    put(server, SNAPPY, SNAPPY)
    files = listed(store)

    def rewrite_all(request: Request) -> Answer | None:
        if request.path.endswith(name(1)):
            server.hook = lambda request: None
            put(server, PLAIN, PLAIN)
        return None

    server.hook = rewrite_all
    server.log.clear()
    verified = verify_files(store, FOLDER, files, COLUMNS, None)
    assert verified.files == tuple(listed(store))
    assert f"{name(0)}, {name(1)}" in verified.warnings[0]


def test_other_rows_than_before_are_an_error(server: Server, store: ObjectStore) -> None:
    put(server, SNAPPY, SNAPPY)
    files = listed(store)
    # The first is read by itself; the other one changes then, and the first right behind it.

    def rewrite_all(request: Request) -> Answer | None:
        if request.path.endswith(name(1)):
            server.hook = lambda request: None
            put(server, FEWER, FEWER)
        return None

    first = verify_files(store, FOLDER, files[:1], COLUMNS, None)
    assert first.rows == (100,)
    server.hook = rewrite_all
    with pytest.raises(VerificationError, match=rf"{name(0)} .*holds 99 rows where it held 100"):
        verify_files(store, FOLDER, files, COLUMNS, None)


def test_other_columns_are_an_error(server: Server, store: ObjectStore) -> None:
    put(server, SNAPPY)
    files = listed(store)
    put(server, parquet(100, COLUMNS[:1]))
    with pytest.raises(VerificationError, match="has the columns id where"):
        verify_files(store, FOLDER, files, COLUMNS, None)


@pytest.mark.parametrize("level", LEVELS)
def test_a_file_that_goes_away(server: Server, store: ObjectStore, level: VerifyLevel) -> None:
    put(server, SNAPPY, SNAPPY)
    files = listed(store)
    server.delete(BUCKET, FOLDER.key + name(1))
    with pytest.raises(VerificationError, match=rf"{name(1)} in .* went away"):
        verify_files(store, FOLDER, files, COLUMNS, None, level)


def test_an_export_that_begins_meanwhile(server: Server, store: ObjectStore) -> None:
    put(server, SNAPPY)
    files = listed(store)
    put(server, PLAIN)
    server.put(BUCKET, FOLDER.key + "mz-t7-INCOMPLETE", b"")
    with pytest.raises(VerificationError, match="An export is being written"):
        verify_files(store, FOLDER, files, COLUMNS, None)


def test_a_file_that_does_not_stop_changing(server: Server, store: ObjectStore) -> None:
    put(server, SNAPPY, SNAPPY)
    files = listed(store)
    written = [0]

    def rewrite(request: Request) -> Answer | None:
        if request.path.endswith(name(1)):
            written[0] += 1
            server.put(BUCKET, FOLDER.key + name(1), parquet(100, row_group_size=written[0]))
        return None

    server.hook = rewrite
    server.log.clear()
    with pytest.raises(VerificationError, match=rf"{name(1)} in .* did not stop changing") as caught:
        verify_files(store, FOLDER, files, COLUMNS, None)
    assert "single replica" in caught.value.hint
    assert sum("list-type" in request.query for request in server.log) == 1 + ROUNDS
