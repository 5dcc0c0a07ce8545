"""The mark a published table carries: which load it holds.

It is a part of the table's comment, because a comment moves along with SWAP and RENAME in the same atomic step as the
data. So a process that was killed right behind the publish leaves proof that it happened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mz_orchestration.exports.manifest import Manifest

_MARK = re.compile(r"\s*\[mz-orchestration manifest=([0-9a-f]{64}) (new|swap)=([0-9A-F]{12})\]")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a table's comment says.

    Attributes:
        manifest: Hash of the manifest whose rows took the table's name.
        load: Id of the load that brought them.
        swapped: There was a table of that name before.
    """

    manifest: str
    load: str
    swapped: bool


def mark(comment: str | None, manifest: Manifest, load: str, *, swapped: bool) -> str:
    """The table's own comment with the mark of this load in place of any earlier one."""
    how = "swap" if swapped else "new"
    return f"{_MARK.sub('', comment or '')} [mz-orchestration manifest={manifest.sha256} {how}={load}]".strip()


def mark_of(comment: str | None) -> Mark | None:
    """The mark in a table's comment, if there is one."""
    match = _MARK.search(comment or "")
    return Mark(match[1], match[3], match[2] == "swap") if match else None
