"""What the columns of an export hold: NULLs, smallest and largest values, sums.

Materialize can say it inside the read of the export, the files can be read for it, and a warehouse can be asked the
same once they are loaded: each value has one canonical text here, so that all of them can be compared.
"""

from __future__ import annotations

from mz_orchestration.exports.statistics.model import (
    ColumnStatistics,
    Kind,
    Source,
    Statistics,
    described,
    kind_of,
    read_described,
)

__all__ = ["ColumnStatistics", "Kind", "Source", "Statistics", "described", "kind_of", "read_described"]
