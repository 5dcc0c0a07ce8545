"""Advice on the files of an export for the warehouse that loads them: too small, too large, too many, too few.

Nothing here stops a load. The figures are the vendor's: files load best at 100 to 250 MB, a core reads one file at a
time, and a warehouse of the smallest size reads about eight at once, twice as many with each size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median
from typing import Literal

from mz_orchestration.snowflake.copy import MAX_FILES

_MB, _GB = 10**6, 10**9
_SMALL, _LARGE = 10 * _MB, 5 * _GB
_SIZES = (
    "X-Small",
    "Small",
    "Medium",
    "Large",
    "X-Large",
    "2X-Large",
    "3X-Large",
    "4X-Large",
    "5X-Large",
    "6X-Large",
)
_AT_ONCE = 8
# Where a file takes seconds, that many one after the other take longer than a larger warehouse takes to start.
_ROUNDS = 10


def advise(file_sizes: Sequence[int], warehouse_size: str | None, format: Literal["parquet", "csv"]) -> list[str]:
    """What could be better about a load, in short sentences; empty if all is well.

    Args:
        file_sizes: Bytes of each file.
        warehouse_size: As Snowflake shows or takes it; None and sizes unknown here are not judged.
        format: Of the files.
    """
    files = len(file_sizes)
    if not files:
        return []
    found = []
    middle = median(file_sizes)
    # As many as the smallest warehouse reads at once would load no sooner in one piece.
    if files > _AT_ONCE and middle < _SMALL:
        found.append(
            f"Half of the {files:,} files are smaller than {_shown(middle)}; files of 100 to 250 MB load best. "
            "Raise the export's MAX FILE SIZE, or export from a cluster with fewer workers."
        )
    large = [size for size in file_sizes if size > _LARGE]
    if large:
        otherwise = ", or export as Parquet, which is compressed" if format == "csv" else ""
        found.append(
            f"{len(large):,} of {files:,} files are larger than 5 GB (the largest {_shown(max(large))}), and one core "
            f"reads each. Lower the export's MAX FILE SIZE{otherwise}."
        )
    size = size_index(warehouse_size) if warehouse_size else None
    if size is not None:
        found += _fit(files, size)
    if files > MAX_FILES:
        found.append(
            f"{files:,} files take {-(-files // MAX_FILES):,} COPY INTO statements of at most {MAX_FILES:,} files."
        )
    return found


def _fit(files: int, size: int) -> list[str]:
    """The number of files beside what the warehouse reads at once."""
    at_once = _AT_ONCE << size
    rounds = -(-files // at_once)
    if rounds > _ROUNDS and size < len(_SIZES) - 1:
        better = _smallest(-(-files // _ROUNDS))
        return [
            f"{files:,} files take {rounds:,} rounds on a warehouse of size {_SIZES[size]}, which reads about "
            f"{at_once:,} at once. {_SIZES[better]} reads about {_AT_ONCE << better:,}."
        ]
    if size and files <= at_once // 2:
        enough = _smallest(files)
        plural = "s" if files > 1 else ""
        return [
            f"{files} file{plural} cannot keep a warehouse of size {_SIZES[size]} busy, which reads about {at_once} at "
            f"once. {_SIZES[enough]} would do."
        ]
    return []


def _smallest(at_once: int) -> int:
    """The smallest size that reads so many files at once, or the largest there is."""
    return next((size for size in range(len(_SIZES)) if _AT_ONCE << size >= at_once), len(_SIZES) - 1)


def size_index(name: str) -> int | None:
    """A warehouse size's place in the row of sizes, from 0 for X-Small; None if the name is not known.

    Args:
        name: As Snowflake shows it (``2X-Large``) or takes it (``XXLARGE``, ``X2LARGE``).
    """
    word = re.sub(r"[^A-Z0-9]", "", name.upper())
    for index, size in enumerate(_SIZES):
        plain = size.upper().replace("-", "")
        spellings = {plain}
        if plain[0].isdigit():
            spellings |= {f"X{plain[0]}LARGE", "X" * int(plain[0]) + "LARGE"}
        if word in spellings:
            return index
    return None


def _shown(size: float) -> str:
    if size >= _GB:
        return f"{size / _GB:.1f} GB"
    return f"{size / _MB:.1f} MB" if size >= _MB / 10 else f"{size / 1000:.1f} kB"
