"""How deeply files are verified, and what verifying them has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mz_orchestration.objectstore.client import ObjectInfo

AGAIN = "Do not load these files. Run the export again with the same run key: it starts in a fresh path."


class CountedBy(StrEnum):
    """Where the number of rows of a file was found."""

    FOOTER = "footer"
    VALUES = "values"  # each column of a Parquet file decoded from first to last
    RECORDS = "records"  # of CSV


@dataclass(frozen=True, slots=True)
class Counted:
    """One file, looked at.

    Attributes:
        rows: How many it holds.
        source_types: Materialize's name of each column's type, where the file says; CSV does not.
    """

    rows: int
    source_types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verified:
    """Files that hold what they should.

    Attributes:
        files: In the order asked for, with the size and the ETag they had when they were looked at.
        rows: Rows of each file; None where only the listing was looked at.
        counted_by: Where the rows were found; None like them.
        source_types: Materialize's name of each column's type, from the files; empty for CSV.
        warnings: What a person should know, one sentence each.
    """

    files: tuple[ObjectInfo, ...]
    rows: tuple[int, ...] | None = None
    counted_by: CountedBy | None = None
    source_types: Mapping[str, str] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def total(self) -> int | None:
        """Rows of all files together."""
        return None if self.rows is None else sum(self.rows)
