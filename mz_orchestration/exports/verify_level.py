"""How closely the files of an export are looked at: apart from the looking, for whoever only describes exports."""

from __future__ import annotations

from enum import StrEnum


class VerifyLevel(StrEnum):
    """How much of the files is looked at."""

    LISTING = "listing"  # names and sizes
    FOOTERS = "footers"  # Parquet by its footers; CSV, which has none, to the last byte
    FULL = "full"  # every byte
