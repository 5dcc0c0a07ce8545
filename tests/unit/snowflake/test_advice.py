"""Advice says something when it can help, with the numbers, and nothing otherwise."""

from __future__ import annotations

import pytest

from mz_orchestration.snowflake.advice import advise, size_index

KB, MB, GB = 10**3, 10**6, 10**9


@pytest.mark.parametrize(
    ("sizes", "warehouse"),
    [
        ([], "X-Small"),
        ([200 * MB], None),
        ([200 * MB], "X-Small"),
        ([5 * KB] * 8, "X-Small"),  # nothing would load sooner in one piece
        ([200 * MB] * 8, "X-Small"),
        ([200 * MB] * 80, "X-Small"),  # ten rounds
        ([200 * MB] * 9, "Small"),
        ([200 * MB] * 40, "Large"),
        ([200 * MB] * 1000, "2X-Large"),
        ([5 * GB] * 2, "X-Small"),
        ([200 * MB] * 20, "a size of tomorrow"),
        ([10 * MB] * 50, "Medium"),
    ],
)
def test_quiet_when_fine(sizes: list[int], warehouse: str | None) -> None:
    assert advise(sizes, warehouse, "parquet") == []


@pytest.mark.parametrize(
    ("sizes", "warehouse", "format", "said"),
    [
        ([2 * MB] * 9, None, "parquet", ["the 9 files are smaller than 2.0 MB", "MAX FILE SIZE"]),
        ([800] * 500, None, "csv", ["the 500 files are smaller than 0.8 kB", "fewer workers"]),
        ([6 * GB, 7 * GB, 1 * GB], None, "parquet", ["2 of 3 files are larger than 5 GB", "7.0 GB", "MAX FILE SIZE."]),
        ([6 * GB], None, "csv", ["1 of 1 files", "export as Parquet"]),
        (
            [50 * MB] * 81,
            "X-Small",
            "parquet",
            ["81 files take 11 rounds", "X-Small, which reads about 8", "Small reads"],
        ),
        ([50 * MB] * 900, "Small", "parquet", ["57 rounds", "X-Large reads about 128"]),
        ([50 * MB] * 20, "Large", "parquet", ["20 files", "Large busy, which reads about 64", "Medium would do"]),
        ([200 * MB], "Small", "parquet", ["1 file cannot", "X-Small would do"]),
        ([50 * MB] * 1001, None, "parquet", ["1,001 files take 2 COPY INTO statements of at most 1,000 files"]),
        ([50 * MB] * 100_000, "6X-Large", "parquet", ["100,000 files take 100 COPY"]),
    ],
)
def test_one_thing_at_a_time(sizes: list[int], warehouse: str | None, format: str, said: list[str]) -> None:
    [sentence] = advise(sizes, warehouse, format)  # type: ignore[arg-type]
    for part in said:
        assert part in sentence


def test_several_things() -> None:
    found = advise([1 * MB] * 1500 + [6 * GB], "X-Small", "parquet")
    assert len(found) == 4


def test_the_size_that_is_suggested_is_content() -> None:
    for files in range(1, 3000, 7):
        for size in ("X-Small", "Large", "4X-Large"):
            for sentence in advise([50 * MB] * files, size, "parquet"):
                if " would do" in sentence or "reads about" in sentence:
                    better = sentence.rpartition("once. ")[2].split()[0]
                    again = advise([50 * MB] * files, better, "parquet")
                    assert [other for other in again if "warehouse" in other] == []


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (0, ["X-Small", "XSMALL", "xsmall", "'X-SMALL'"]),
        (1, ["Small", "SMALL"]),
        (2, ["Medium"]),
        (3, ["Large", "LARGE"]),
        (4, ["X-Large", "XLARGE"]),
        (5, ["2X-Large", "XXLARGE", "X2LARGE", "2XLARGE", "'2X-LARGE'"]),
        (6, ["3X-Large", "XXXLARGE", "X3LARGE", "3XLARGE"]),
        (7, ["4X-Large", "X4LARGE", "4XLARGE"]),
        (8, ["5X-Large", "X5LARGE"]),
        (9, ["6X-Large", "X6LARGE"]),
        (None, ["", "7X-Large", "XXS", "X0LARGE", "ADAPTIVE"]),
    ],
)
def test_sizes_by_all_their_names(index: int | None, names: list[str]) -> None:
    assert {size_index(name) for name in names} == {index}
