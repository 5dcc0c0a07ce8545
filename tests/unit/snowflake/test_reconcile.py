"""Every way in which Snowflake's answer can disagree with the manifest."""

from __future__ import annotations

from typing import Any

import pytest

from mz_orchestration.exports.manifest import DataFile, Manifest
from mz_orchestration.snowflake.reconcile import findings

A, B = "mz-t1-batch-0000-0000.parquet", "mz-t1-batch-0001-0000.parquet"
MANIFEST = Manifest.model_construct(
    files=(DataFile(name=A, bytes=1, etag="a", rows=10), DataFile(name=B, bytes=1, etag="b", rows=0))
)


def answer(name: str, rows: int, status: str = "LOADED", errors: int = 0) -> dict[str, Any]:
    return {
        "file": f"s3://bucket/path/{name}",
        "status": status,
        "rows_loaded": rows,
        "errors_seen": errors,
        "first_error": "bad value" if errors else None,
    }


def test_agreement() -> None:
    assert findings(MANIFEST, [answer(A, 10), answer(B, 0)]) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([answer(A, 9), answer(B, 0)], "9 rows loaded, 10 in the file"),
        ([answer(A, 11), answer(B, 0)], "11 rows loaded"),
        ([answer(A, 10)], f"{B}: not loaded"),
        ([answer(A, 10), answer(A, 10), answer(B, 0)], f"{A}: loaded twice"),
        ([answer(A, 10, "PARTIALLY_LOADED", 2), answer(B, 0)], "PARTIALLY_LOADED, 2 errors, the first: bad value"),
        ([answer(A, 0, "LOAD_SKIPPED"), answer(B, 0)], "LOAD_SKIPPED"),
        ([answer(A, 10), answer(B, 0), answer("mz-t9-INCOMPLETE", 0)], "mz-t9-INCOMPLETE: loaded but not in"),
        ([{"status": "Copy executed with 0 files processed."}], "0 files processed"),
        ([], f"{A}: not loaded"),
    ],
)
def test_disagreement(rows: list[dict[str, Any]], said: str) -> None:
    assert said in "; ".join(findings(MANIFEST, rows))
