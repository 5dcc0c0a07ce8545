"""Which requests the API answered, and how: one JSON line a request, without tokens."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path


class RequestLog:
    """Appends requests to a file of JSON lines.

    Args:
        path: The file, made when missing, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, method: str, path: str, query: str, status: int | None) -> None:
        """Write one line.

        Args:
            method: The method.
            path: The path.
            query: The query; nothing secret belongs there in this API.
            status: The status of the answer, None if the connection was reset.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "method": method, "path": path, "query": query, "status": status}
        os.write(self._fd, (json.dumps(line) + "\n").encode())
