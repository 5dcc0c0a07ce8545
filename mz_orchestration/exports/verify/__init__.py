"""Verifying exported files: by the listing, by footers and records, or by reading every byte."""

from __future__ import annotations

from mz_orchestration.exports.verify.files import rewritten_warning, verify_files
from mz_orchestration.exports.verify.parquet import prepare_reader
from mz_orchestration.exports.verify.result import AGAIN, CountedBy, Verified

__all__ = ["AGAIN", "CountedBy", "Verified", "prepare_reader", "rewritten_warning", "verify_files"]
