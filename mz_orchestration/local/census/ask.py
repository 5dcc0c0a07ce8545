"""Asks a running stand-in for faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.servers import census_url
from mz_orchestration.local.state import State


def adjust_rules(state: State, changes: Mapping[str, object], *, clear: bool) -> list[dict[str, Any]]:
    """Add to a rule of a running stack; the scope among the changes says to which.

    Args:
        state: the stack.
        changes: switches by name, as :class:`~mz_orchestration.local.census.faults.Faults` has them.
        clear: forget all rules first.

    Returns:
        The rules in force.

    Raises:
        LocalStackError: Census does not run here or does not answer, or a name or a value is unknown.
    """
    if "census" not in state.servers:
        raise LocalStackError("this stack was started without Census, so nothing can go wrong there.")
    server = state.servers["census"]
    try:
        # Straight to our own server, whatever proxy the environment names.
        with httpx.Client(base_url=census_url(server.port), trust_env=False, timeout=10) as client:
            answer = client.post("/local/faults", json={**({"clear": True} if clear else {}), **changes})
            body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise LocalStackError(f"Census did not take the faults: {error}. Its log: {server.log}") from error
    if answer.status_code != 200:
        raise LocalStackError(body["error"])
    rules: list[dict[str, Any]] = body["rules"]
    return rules
