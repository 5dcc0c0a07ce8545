"""Definitions that `load_from_defs_folder` finds: components by their defs.yaml, and modules."""
