"""What the session of an open transaction remembers of its reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(eq=False)
class ReadTransaction:
    """What an open transaction reads; its session holds on to it for as long as it is open.

    Attributes:
        timestamp: at which it reads.
        snapshot: the name under which others can import it; empty when there is none.
        domain: the collections it may read; None until its first query that names any.
    """

    timestamp: int
    snapshot: str = ""
    domain: Mapping[int, str] | None = None

    def offers(self, collections: Mapping[int, str]) -> bool:
        """Whether others may read these collections at its timestamp."""
        return bool(self.snapshot) and self.domain is not None and self.domain.keys() >= collections.keys()
