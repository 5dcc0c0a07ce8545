"""The casts asked for by ``--cast``, told apart by object."""

from __future__ import annotations

from collections.abc import Sequence

from mz_orchestration.errors import ConfigurationError


def parse_casts(given: Sequence[str], objects: Sequence[str]) -> dict[str, dict[str, str]]:
    """Types by column, by object.

    Args:
        given: ``COLUMN=TYPE``, or with several objects ``OBJECT.COLUMN=TYPE``, which a single one takes, too.
        objects: What is exported, as it was named.

    Raises:
        ConfigurationError: A cast has another form, names no object of these, or a column for the second time.
    """
    casts: dict[str, dict[str, str]] = {name: {} for name in objects}
    several = len(objects) > 1
    form = "OBJECT.COLUMN=TYPE" if several else "COLUMN=TYPE"
    example = f"--cast '{objects[0]}.total=numeric(38,2)'" if several else "--cast 'total=numeric(38,2)'"
    for text in given:
        name, equals, type = text.rpartition("=")
        if not equals or not name or not type:
            raise ConfigurationError(f"--cast: {text!r} is not {form}.", hint=f"Write {example}.")
        # The longest name first: "a.b" is an object of its own beside "a".
        owner = next((each for each in sorted(objects, key=len, reverse=True) if name.startswith(f"{each}.")), None)
        if owner is None and several:
            raise ConfigurationError(
                f"--cast: {text!r} does not begin with one of the objects {', '.join(objects)}; with several objects "
                f"the form is {form}.",
                hint=f"Write {example}.",
            )
        column = name if owner is None else name[len(owner) + 1 :]
        if not column:
            raise ConfigurationError(f"--cast: {text!r} names no column.", hint=f"Write {example}.")
        mine = casts[objects[0] if owner is None else owner]
        if column in mine:
            raise ConfigurationError(
                f"--cast names the column {column!r} twice, as {mine[column]} and as {type}.",
                hint="Give each column one type.",
            )
        mine[column] = type
    return casts
