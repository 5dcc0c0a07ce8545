"""Waiting for exports that somebody else runs: one at a time (`wait`), or thousands in one process (`watcher`)."""
