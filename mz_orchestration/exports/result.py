"""What an export hands to its caller."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mz_orchestration.exports.manifest import Manifest


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A finished, verified export.

    Attributes:
        manifest: What was written.
        attempt: Which attempt it was, from 1.
        repeated: The run had already been finished by an earlier call; nothing was done now.
        adopted: The files were written for an earlier process that did not live to see them.
        seconds: Duration of this call.
    """

    manifest: Manifest
    attempt: int
    repeated: bool
    adopted: bool
    seconds: float

    @property
    def manifest_url(self) -> str:
        """Where the manifest lies: the input of a load."""
        return str(self.manifest.location)

    @property
    def started_at(self) -> datetime:
        """When the attempt began."""
        return self.manifest.started_at

    def to_metadata(self) -> dict[str, int | float | str]:
        """Small values for XCom and asset events."""
        manifest = self.manifest
        return {
            "manifest": self.manifest_url,
            "run_key": manifest.run_key,
            "object": manifest.object,
            "path": manifest.path,
            "format": manifest.format,
            "rows": manifest.rows,
            "files": len(manifest.files),
            "bytes": manifest.size,
            "attempt": self.attempt,
            **({} if manifest.timestamp is None else {"timestamp": manifest.timestamp}),
            "repeated": int(self.repeated),
            "adopted": int(self.adopted),
            "seconds": round(self.seconds, 3),
        }
