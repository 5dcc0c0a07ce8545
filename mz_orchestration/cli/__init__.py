"""The ``mz-orchestration`` command: thin functions over the other rooms."""
