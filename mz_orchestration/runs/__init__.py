"""The run record: one logical run, its attempts, its manifest and its loads."""
