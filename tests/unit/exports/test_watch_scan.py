"""Shared looks against a model that looks at every path by itself."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mz_orchestration.exports.watch.pages import read_keys
from mz_orchestration.exports.watch.scan import KeyPage, Scan, Wanted, scan, shared_groups


def driven(keys: list[str], wanted: list[Wanted], *, page: int, at_least: int = 2) -> tuple[Scan, int]:
    """Carry a scan out over sorted keys; the result and the number of requests."""
    looking = scan(sorted(wanted, key=lambda item: item.position), at_least)
    requests = 0
    try:
        start = next(looking)
        while True:
            requests += 1
            begin = bisect_right(keys, start)
            shown = keys[begin : begin + page]
            start = looking.send(KeyPage(shown, {}, begin + page < len(keys)))
    except StopIteration as stop:
        result: Scan = stop.value
        return result, requests


names = st.sampled_from(
    [
        "_manifest.json",
        "mz-t1-INCOMPLETE",
        "mz-t9-INCOMPLETE",
        *(f"mz-t{export}-batch-{batch:04d}-0000.parquet" for export in (1, 9) for batch in range(4)),
        "notes",
    ]
)
folders = st.sampled_from(
    [f"base/{export}/{attempt:02d}/" for export in ("a", "ab", "b", "b.c") for attempt in range(6)]
)
buckets = st.dictionaries(folders, st.sets(names, max_size=6), max_size=24)
strangers = st.sets(st.sampled_from(["base/x", "base/a", "base/a/zz", "base/b/00", "base/b/00/sub/y", "base/zzz/1"]))


@st.composite
def watched(draw: st.DrawFn) -> tuple[list[str], list[Wanted]]:
    bucket = draw(buckets)
    keys = sorted({folder + name for folder, found in bucket.items() for name in found} | draw(strangers))
    wanted = []
    for folder in draw(st.sets(folders, max_size=24)):
        known = draw(st.sampled_from([None, None, "mz-t1-INCOMPLETE", "mz-t9-INCOMPLETE"]))
        wanted.append(Wanted(folder, folder + known if known else None))
    return keys, wanted


@given(watched(), st.integers(1, 12), st.integers(1, 5))
def test_a_scan_says_what_single_looks_would(case: tuple[list[str], list[Wanted]], page: int, at_least: int) -> None:
    keys, wanted = case
    result, requests = driven(keys, wanted, page=page, at_least=at_least)
    assert requests <= len(wanted)
    said = {*result.found, *result.changed, *result.unanswered}
    assert len(said) == len(result.found) + len(result.changed) + len(result.unanswered)
    for item in wanted:
        inside = [key for key in keys if key.startswith(item.folder) and key != item.folder]
        sentinels = [key for key in inside if key.endswith("-INCOMPLETE") and "/" not in key[len(item.folder) :]]
        if item.folder in result.found:
            assert item.sentinel is None
            assert result.found[item.folder][0] in sentinels
        elif item.folder in result.changed:
            # With a sentinel behind the page's end the look that follows finds it.
            assert item.sentinel not in inside if item.sentinel else inside
        elif item.folder not in result.unanswered:
            assert item.sentinel in inside if item.sentinel else not inside


@given(watched())
def test_one_page_is_one_request(case: tuple[list[str], list[Wanted]]) -> None:
    keys, wanted = case
    result, requests = driven(keys, wanted, page=1000)
    assert requests == (1 if wanted else 0)
    assert not result.unanswered
    assert not result.sparse


def test_a_thousand_running_exports_cost_one_page() -> None:
    wanted = [Wanted(f"base/e/{n:04d}/", f"base/e/{n:04d}/mz-t{n}-INCOMPLETE") for n in range(1000)]
    assert driven(sorted(item.sentinel or "" for item in wanted), wanted, page=1000)[1] == 1


def test_keys_nobody_waits_for_are_skipped() -> None:
    wanted = [Wanted(f"base/e/{n:04d}/", f"base/e/{n:04d}/mz-t1-INCOMPLETE") for n in (0, 5000)]
    keys = [f"base/e/{n:04d}/mz-t1-INCOMPLETE" for n in range(7000)]
    result, requests = driven(keys, wanted, page=1000)
    assert requests == 2
    assert not result.unanswered


def test_where_paths_lie_far_apart_few_pages_are_tried() -> None:
    wanted = [Wanted(f"base/e/{n:04d}/", f"base/e/{n:04d}/mz-t1-INCOMPLETE") for n in range(0, 9000, 30)]
    keys = [f"base/e/{n:04d}/mz-t1-INCOMPLETE" for n in range(9000)]
    result, requests = driven(keys, wanted, page=20, at_least=8)
    assert requests <= 10
    assert len(result.unanswered) == 300 - requests
    assert set(result.unanswered) <= set(result.sparse)


def test_the_rest_behind_full_pages_is_not_sparse() -> None:
    wanted = [Wanted(f"base/e/{n:04d}/", f"base/e/{n:04d}/mz-t1-INCOMPLETE") for n in range(103)]
    keys = [f"base/e/{n:04d}/mz-t1-INCOMPLETE" for n in range(9000)]
    result, requests = driven(keys, wanted, page=50, at_least=8)
    assert requests == 3
    assert not result.sparse


@given(st.sets(folders), st.sets(st.sampled_from(["base/", "base/a/", "base/b/"])), st.integers(1, 4))
def test_groups_hold_every_path_once_below_prefixes_we_may_list(
    paths: set[str], refused: set[str], at_least: int
) -> None:
    groups, single = shared_groups([Wanted(path) for path in paths], refused, at_least)
    together = [item.folder for _, members in groups for item in members] + [item.folder for item in single]
    assert sorted(together) == sorted(paths)
    for prefix, members in groups:
        assert prefix not in refused
        assert prefix.endswith("/")
        assert len(members) >= at_least
        assert all(item.folder.startswith(prefix) for item in members)


def test_the_root_of_a_bucket_is_never_listed() -> None:
    wanted = [Wanted(f"{top}/{n}/") for top in ("a", "b") for n in range(3)]
    assert [prefix for prefix, _ in shared_groups(wanted, at_least=2)[0]] == ["b/", "a/"]


def test_a_path_and_what_lies_below_it_end() -> None:
    groups, single = shared_groups([Wanted("a/"), Wanted("a/b/"), Wanted("a/c/")], refused={"a/"}, at_least=2)
    assert not groups
    assert len(single) == 3


BODY = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult{space}><Name>b</Name><Prefix>x/</Prefix>{encoding}<IsTruncated>{more}</IsTruncated>
<Contents><Key>{key}</Key><LastModified>{when}</LastModified><ETag>&quot;e&quot;</ETag><Size>0</Size></Contents>
<CommonPrefixes><Prefix>x/y/</Prefix></CommonPrefixes></ListBucketResult>"""


@pytest.mark.parametrize(
    "space", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', ' xmlns="http://doc.s3.amazonaws.com/2006-03-01"']
)
def test_pages_of_different_stores(space: str) -> None:
    when = "2026-11-22T19:00:00.000Z"
    encoded = BODY.format(
        space=space, encoding="<EncodingType>url</EncodingType>", more="true", key="x/a+b%2Fmz-t1-INCOMPLETE", when=when
    )
    key = "x/a b/mz-t1-INCOMPLETE"
    assert read_keys(encoded.encode()) == KeyPage([key], {key: datetime(2026, 11, 22, 19, tzinfo=UTC)}, True)
    plain = BODY.format(space=space, encoding="", more="false", key="x/a+b", when=when)
    assert read_keys(plain.encode()) == KeyPage(["x/a+b"], {}, False)


@pytest.mark.parametrize("when", ["", "yesterday", "2026-11-22T19:00:00"])
def test_a_time_that_cannot_be_read_is_none(when: str) -> None:
    body = BODY.format(space="", encoding="", more="false", key="mz-t1-INCOMPLETE", when=when)
    page = read_keys(body.encode())
    assert page is not None
    assert page.sentinels == {"mz-t1-INCOMPLETE": None}


@pytest.mark.parametrize("body", [b"", b"not xml", b"<Error><Code>SlowDown</Code></Error>"])
def test_what_is_no_listing_is_left_to_botocore(body: bytes) -> None:
    assert read_keys(body) is None
