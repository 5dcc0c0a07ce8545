"""Components: exports, loads and syncs from ``defs.yaml`` or from a pipeline file, without any Python."""
