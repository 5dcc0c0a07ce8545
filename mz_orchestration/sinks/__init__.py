"""The health of streaming sinks and sources: what Materialize says of them, what it means, and what to do about it."""
