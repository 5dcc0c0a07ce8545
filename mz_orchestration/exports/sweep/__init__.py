"""Sweeping what exports left behind: abandoned attempts, unfinished uploads, sessions nobody waits for."""

from __future__ import annotations

from mz_orchestration.exports.sweep.flow import parse_sweep_folder, sweep, sweep_flow

__all__ = ["parse_sweep_folder", "sweep", "sweep_flow"]
