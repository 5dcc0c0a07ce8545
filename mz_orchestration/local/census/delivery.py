"""What a run sends: rows become records by their key, and records that are as they were stay at home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from mz_orchestration.local.census.faults import Faults
from mz_orchestration.local.census.syncs import Settings

#: Digests of the records that reached the destination, by key.
Snapshot = dict[str, bytes]


@dataclass
class Counts:
    """The numbers of a run; None until they are known."""

    source: int | None = None
    updates: int | None = None
    deletes: int | None = None
    invalid: int | None = None
    processed: int | None = None
    updated: int | None = None
    failed: int | None = None


@dataclass
class Shipment:
    """What is to be sent.

    Attributes:
        records: Records by key.
        digests: Of these records.
        deletes: Keys to delete at the destination.
        gone: Keys that are in the source no more.
        counts: What is known before anything was sent.
    """

    records: dict[str, dict[str, Any]]
    digests: Snapshot
    deletes: list[str]
    gone: list[str]
    counts: Counts = field(default_factory=Counts)


def pack(
    rows: Sequence[Sequence[Any]], settings: Settings, snapshot: Snapshot, *, full: bool, faults: Faults
) -> Shipment:
    """Find what is to be sent of a source.

    Rows without a key are invalid, and so are all rows of a key that comes twice: nobody knows which is right.

    Args:
        rows: Values in the order of the sync's mappings.
        settings: The sync.
        snapshot: What the destination has.
        full: Whether all records are sent.
        faults: May call more records invalid.
    """
    place = next(n for n, mapping in enumerate(settings.mappings) if mapping.is_primary_identifier)
    fields = [mapping.to for mapping in settings.mappings]
    keys = ["" if row[place] is None else str(row[place]) for row in rows]
    seen = Counter(keys)
    valid = {
        key: dict(zip(fields, row, strict=True)) for key, row in zip(keys, rows, strict=True) if key and seen[key] == 1
    }
    for key in list(valid)[: _share(len(rows), faults.invalid_records, faults.invalid_ratio)]:
        del valid[key]
    digests = {key: blake2b(repr(record).encode(), digest_size=16).digest() for key, record in valid.items()}
    changed = {key: record for key, record in valid.items() if snapshot.get(key) != digests[key]}
    gone = [key for key in snapshot if key not in seen]
    records = valid if full else changed
    deletes = gone if settings.operation == "mirror" else []
    counts = Counts(
        source=len(rows),
        updates=len(changed),
        deletes=len(gone),
        invalid=len(rows) - len(valid),
        processed=len(records) + len(deletes),
    )
    return Shipment(records, {key: digests[key] for key in records}, deletes, gone, counts)


def unlucky(shipment: Shipment, faults: Faults) -> set[str]:
    """The keys of the records that the destination rejects because somebody asked for it."""
    return set(list(shipment.records)[: _share(len(shipment.records), faults.failed_records, faults.failed_ratio)])


def arrived(shipment: Shipment, snapshot: Snapshot, rejected: set[str]) -> None:
    """Note what the destination has now; what it rejected differs still, so that the next run sends it again."""
    snapshot.update((key, digest) for key, digest in shipment.digests.items() if key not in rejected)
    for key in shipment.gone:
        snapshot.pop(key, None)
    shipment.counts.failed = len(rejected)
    shipment.counts.updated = len(shipment.records) - len(rejected) + len(shipment.deletes)


def _share(total: int, count: int | None, ratio: float | None) -> int:
    return min(total, max(count or 0, round(total * (ratio or 0.0))))
