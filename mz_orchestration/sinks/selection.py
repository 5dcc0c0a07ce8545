"""Which connectors are meant: by names, patterns, cluster and type."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mz_orchestration.errors import NotFoundError
from mz_orchestration.sinks.facts import ConnectorFacts, Look


@dataclass(frozen=True, slots=True)
class Selection:
    """Which connectors are meant; without arguments, all.

    Attributes:
        names: ``[[database.]schema.]name``, or patterns with ``*``; one that fits is enough.
        clusters: Names of clusters.
        types: Such as ``kafka``.
        required: Whether each name has to be there.
    """

    names: Sequence[str] = ()
    clusters: Sequence[str] = ()
    types: Sequence[str] = ()
    required: bool = True

    def of(self, look: Look, *, known: bool = False) -> Look:
        """What of a look is meant.

        Args:
            look: All there is.
            known: Whether it has been looked at before: what is not there now may have been dropped since.

        Raises:
            NotFoundError: Something that was asked for by name has never been there.
        """
        chosen = {identifier: each for identifier, each in look.connectors.items() if self.means(each)}
        if self.required and not known:
            for name in self.names:
                if "*" not in name and not any(fits(each.name, name) for each in look.connectors.values()):
                    raise _unknown(name, look)
        return Look(look.at, chosen)

    def means(self, facts: ConnectorFacts) -> bool:
        """Whether a connector is meant.

        Args:
            facts: The connector.
        """
        return (
            (not self.names or any(fits(facts.name, name) for name in self.names))
            and (not self.clusters or facts.cluster in self.clusters)
            and (not self.types or facts.type in self.types)
        )


def fits(name: str, pattern: str) -> bool:
    """Whether a name is meant: patterns mean its end, so schema and database may be left out.

    Args:
        name: Of a connector, whole.
        pattern: What was asked for.
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def _unknown(name: str, look: Look) -> NotFoundError:
    names = [each.name for each in look.connectors.values()]
    close = difflib.get_close_matches(name, [*names, *(each.rpartition(".")[2] for each in names)], n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(sorted(names)) or 'none'}."
    return NotFoundError(f"Materialize has no sink or source {name!r}.", hint=hint)
