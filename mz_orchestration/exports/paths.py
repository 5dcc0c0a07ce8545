"""Where the attempts of an export lie below the base folder.

``<base>/<export>/<UTC start>-<8 hex of the run key>-<2-digit attempt>/`` holds one attempt's data and manifest.
Materialize's emptiness check lists the bare path as a string prefix, so the attempt's name has a fixed width: none
can be the beginning of another.
"""

from __future__ import annotations

import re
from datetime import datetime

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.objectstore.location import Location
from mz_orchestration.runs.key import run_key_hash

MANIFEST_NAME = "_manifest.json"
LATEST_NAME = "_latest.json"
MAX_ATTEMPTS = 99

_ATTEMPT = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}-\d{2}")


def is_attempt_name(name: str, run_key: str) -> bool:
    """Whether a folder's name (with its slash) is that of an attempt of the run."""
    return re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{run_key_hash(run_key)[:8]}-\d{{2}}/", name) is not None


def is_attempt_folder(name: str) -> bool:
    """Whether a folder's name (without its slash) is that of an attempt of any run."""
    return _ATTEMPT.fullmatch(name) is not None


def latest_location(base: Location, export: str) -> Location:
    """The object that leads to an export's newest manifest."""
    return base.child(f"{export}/{LATEST_NAME}")


def attempt_location(base: Location, export: str, run_key: str, attempt: int, started_at: datetime) -> Location:
    """The folder of an attempt; ``attempt`` counts from 1.

    Raises:
        ConfigurationError: The run has used up its two digits of attempts.
    """
    if attempt > MAX_ATTEMPTS:
        raise ConfigurationError(
            f"The run {run_key!r} has failed {MAX_ATTEMPTS} times.", hint="Start over with a new run key."
        )
    stamp = started_at.strftime("%Y%m%dT%H%M%SZ")
    return base.child(f"{export}/{stamp}-{run_key_hash(run_key)[:8]}-{attempt:02d}/")
