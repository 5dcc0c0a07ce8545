"""Which connectors are meant: by names, patterns, cluster and type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from mz_orchestration.errors import NotFoundError
from mz_orchestration.sinks.facts import ConnectorFacts, Kind, Look
from mz_orchestration.sinks.memory import Memory

Connector = TypeVar("Connector", ConnectorFacts, Memory)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which connectors are meant; without arguments, all.

    Attributes:
        names: ``[[database.]schema.]name``, or patterns with ``*``; one that fits is enough.
        clusters: Names of clusters.
        types: Such as ``kafka``.
        required: Whether each name has to be there.
        kind: ``sink`` or ``source``; None for both.
    """

    names: Sequence[str] = ()
    clusters: Sequence[str] = ()
    types: Sequence[str] = ()
    required: bool = True
    kind: Kind | None = None

    def of(self, look: Look, *, known: bool = False) -> Look:
        """What of a look is meant.

        Args:
            look: All there is.
            known: Whether it has been looked at before: what is not there now may have been dropped since.

        Raises:
            NotFoundError: Something that was asked for by name has never been there.
        """
        if self.required and not known:
            for name in Names(self.names).missing(each.name for each in look.connectors.values()):
                raise _unknown(name, look)
        return Look(look.at, self.among(look.connectors))

    def among(self, connectors: Mapping[str, Connector]) -> dict[str, Connector]:
        """What of some connectors is meant, by id.

        Args:
            connectors: By id; what is known of each, or remembered.
        """
        names = Names(self.names)
        return {
            identifier: each
            for identifier, each in connectors.items()
            if (not self.names or names.mean(each.name))
            and (not self.clusters or each.cluster in self.clusters)
            and (not self.types or each.type in self.types)
            and self.kind in (None, each.kind)
        }


class Names:
    """Names that were asked for; a thousand of them cost no more per connector than one.

    Args:
        names: They mean the end of a name, so schema and database may be left out; those with ``*`` are patterns.
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = dict.fromkeys(names)
        self._patterns = [each for each in given if "*" in each]
        self._exact = given.keys() - self._patterns

    def mean(self, name: str) -> bool:
        """Whether a connector is meant.

        Args:
            name: Its name, whole.
        """
        return not self._exact.isdisjoint(endings(name)) or any(
            fnmatchcase(name, each) or fnmatchcase(name, f"*.{each}") for each in self._patterns
        )

    def missing(self, there: Iterable[str]) -> list[str]:
        """Those that name nothing; patterns never do.

        Args:
            there: Names of connectors, whole.
        """
        return sorted(self._exact - {ending for name in there for ending in endings(name)})


def endings(name: str) -> list[str]:
    """What a connector may be called: its name, and without the database and the schema.

    Args:
        name: Whole.
    """
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _unknown(name: str, look: Look) -> NotFoundError:
    names = [each.name for each in look.connectors.values()]
    close = difflib.get_close_matches(name, [*names, *(each.rpartition(".")[2] for each in names)], n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(sorted(names)) or 'none'}."
    return NotFoundError(f"Materialize has no sink or source {name!r}.", hint=hint)
