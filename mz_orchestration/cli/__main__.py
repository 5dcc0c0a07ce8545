"""``python -m mz_orchestration.cli``: the command where its script is not on the path."""

from mz_orchestration.cli.main import main

main()
