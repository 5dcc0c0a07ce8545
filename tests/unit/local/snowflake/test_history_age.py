"""How long a table remembers its files."""

from __future__ import annotations

import datetime as dt

import pytest

from mz_orchestration.local.snowflake.catalog import LoadedFile, Version
from mz_orchestration.local.snowflake.load_history import LOAD_FAILED, LOADED, PARTIALLY_LOADED, entries, skips
from mz_orchestration.local.snowflake.store import StoredFile

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


def stored(days: int = 0, etag: str = "e") -> StoredFile:
    return StoredFile("bucket", "a", 1, etag, NOW - dt.timedelta(days=days))


def loaded(days: int, status: str = LOADED, url: str = "s3://bucket/a") -> LoadedFile:
    at = NOW - dt.timedelta(days=days)
    return LoadedFile(url, "e", 1, at, "s3://bucket/", status, 1, 1, at=at)


@pytest.mark.parametrize(
    ("history", "file", "uncertain", "expected"),
    [
        ([], stored(), False, False),
        ([], stored(days=100), False, False),
        ([loaded(1)], stored(days=2), False, True),
        ([loaded(63, PARTIALLY_LOADED)], stored(days=63), False, True),
        ([loaded(1, LOAD_FAILED)], stored(days=2), False, False),
        ([loaded(1)], stored(etag="other"), False, False),
        ([loaded(65)], stored(days=65), False, True),
        ([loaded(65)], stored(days=65), True, False),
        ([loaded(65)], stored(days=1), False, False),
        ([loaded(65, url="s3://bucket/b")], stored(days=65), False, True),
        ([loaded(1, url="s3://bucket/b")], stored(days=65), False, False),
    ],
)
def test_a_file_is_skipped(history: list[LoadedFile], file: StoredFile, uncertain: bool, expected: bool) -> None:
    version = Version("t", {f.url: f for f in history})
    assert skips(version, file, NOW, uncertain=uncertain) is expected


def test_a_failed_try_does_not_hide_a_load() -> None:
    first, failed = loaded(2), loaded(1, LOAD_FAILED)
    assert entries([failed], Version("t", {first.url: first})) == {}
    assert entries([failed], Version("t", {failed.url: failed})) == {failed.url: failed}
    assert entries([first], Version("t", {failed.url: failed})) == {first.url: first}
