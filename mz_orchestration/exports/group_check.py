"""What can be exported together: asked by whoever reads a file, so it imports no client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.spec import ExportSpec

Mode = Literal["held", "transaction"]


def check_group(specs: Sequence[ExportSpec], mode: Mode, max_parallel: int) -> None:
    """Refuse what cannot be exported together.

    Raises:
        ConfigurationError: It names the reason.
    """
    if not specs:
        raise ConfigurationError("There is nothing to export.", hint="Name at least one object.")
    if len({spec.to for spec in specs}) > 1:
        raise ConfigurationError(
            f"Exports of one timestamp go to one folder, not to {', '.join(sorted({spec.to for spec in specs}))}."
        )
    names = [spec.folder_name for spec in specs]
    twice = sorted({spec.object for spec in specs if names.count(spec.folder_name) > 1})
    if twice:
        raise ConfigurationError(f"Named twice: {', '.join(twice)}.", hint="Name each object once.")
    clusters = {spec.cluster for spec in specs}
    if mode == "transaction" and len(clusters) > 1:
        raise ConfigurationError(
            f"One transaction runs on one cluster, not on {', '.join(sorted(map(str, clusters)))}.",
            hint="Use mode='held', or name one cluster.",
        )
    if max_parallel < 1:
        raise ConfigurationError(f"max_parallel is {max_parallel}; it must be at least 1.")
