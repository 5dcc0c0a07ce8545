"""Comparing what Snowflake says it loaded with what the manifest says was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mz_orchestration.exports.manifest import Manifest


def findings(manifest: Manifest, answer: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every disagreement, one line each; empty means that each file arrived whole and nothing else did.

    Args:
        manifest: The export.
        answer: Rows of all COPY INTO statements, by lower-case column name. A COPY that found nothing answers with a
            single column and no file name.
    """
    expected = {file.name: file.rows for file in manifest.files}
    found: list[str] = []
    seen: set[str] = set()
    for row in answer:
        if "file" not in row:
            found.append(f"Snowflake answered: {row.get('status')}")
            continue
        name = str(row["file"]).rpartition("/")[2]
        if name not in expected:
            found.append(f"{name}: loaded but not in the manifest")
            continue
        if name in seen:
            found.append(f"{name}: loaded twice")
        seen.add(name)
        if row["status"] != "LOADED" or row["errors_seen"]:
            problem = row.get("first_error") or "no error given"
            found.append(f"{name}: {row['status']}, {row['errors_seen']} errors, the first: {problem}")
        if row["rows_loaded"] != expected[name]:
            found.append(f"{name}: {row['rows_loaded']} rows loaded, {expected[name]} in the file")
    found += [f"{name}: not loaded" for name in expected if name not in seen]
    return found
