"""Pipelines: exports, checks, loads and syncs described once, in YAML or Python, and run by whoever schedules them."""
