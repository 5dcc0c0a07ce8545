"""The mark a published table carries: which manifest it holds.

It is a part of the table's comment, because a comment moves along with SWAP and RENAME in the same atomic step as the
data. So a process that was killed right behind the publish leaves proof that it happened.
"""

from __future__ import annotations

import re

from mz_orchestration.exports.manifest import Manifest

_MARK = re.compile(r"\s*\[mz-orchestration manifest=([0-9a-f]{64})\]")


def mark(comment: str | None, manifest: Manifest) -> str:
    """The table's own comment with this manifest's mark in place of any earlier one."""
    return f"{_MARK.sub('', comment or '')} [mz-orchestration manifest={manifest.sha256}]".strip()


def marked_manifest(comment: str | None) -> str | None:
    """Hash of the manifest a table holds, if its comment carries one."""
    match = _MARK.search(comment or "")
    return match[1] if match else None
