"""No telemetry, also where a test runs alone."""

from __future__ import annotations

import os

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
