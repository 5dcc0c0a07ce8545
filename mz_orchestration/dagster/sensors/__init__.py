"""Sensors for what others do: exports that complete, and runs of Census syncs that end, with no process that waits."""
