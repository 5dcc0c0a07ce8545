"""Settings from YAML: defaults for flags, one section per command.

A flag on the command line wins over its environment variable, that over the file.
"""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from typer.core import TyperGroup, TyperOption

from mz_orchestration.errors import ConfigurationError

DEFAULT_FILE = Path("mz-orchestration.yaml")
# The same value every night would make every later run one that is already done; deleting is for the moment.
_ONCE = {"run_key", "query", "dry_run", "again", "delete"}


def defaults(path: Path | None, group: TyperGroup) -> dict[str, Any]:
    """What the file says, as click's default map.

    Args:
        path: The file; None means ``mz-orchestration.yaml`` here, if there is one.
        group: The commands whose flags may be set.

    Raises:
        ConfigurationError: The file is missing, no YAML, has a section or key that no command knows, or a value that
            is of another type than its flag.
    """
    if path is None:
        if not DEFAULT_FILE.exists():
            return {}
        path = DEFAULT_FILE
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigurationError(f"--config: {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: {error.reason}.", hint="Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise ConfigurationError(f"{path}{line}: this is not YAML: {getattr(error, 'problem', error)}.") from error
    return _section(data, group, str(path))


def _section(data: Any, command: Any, place: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigurationError(f"{place}: expected names with values, got {data!r}.")
    subcommands = command.commands if isinstance(command, TyperGroup) else {}
    flags = {
        parameter.name: parameter
        for parameter in command.params
        if isinstance(parameter, TyperOption) and parameter.name
    }
    types = get_type_hints(command.callback) if flags and command.callback else {}
    read: dict[str, Any] = {}
    for given, value in data.items():
        key = "null" if given is None else given  # YAML reads the name null as its own None
        name = str(key).replace("-", "_")
        if key in subcommands:
            read[key] = _section(value, subcommands[key], f"{place}: {key}")
        elif name in _ONCE:
            raise ConfigurationError(
                f"{place}: {key!r} belongs to a single run and cannot be a default.", hint=f"Give --{key} instead."
            )
        elif name in flags:
            read[name] = _value(value, types.get(name, str), flags[name], f"{place}: {key!r}")
        else:
            known = ", ".join(sorted([*subcommands, *(name.replace("_", "-") for name in flags)]))
            raise ConfigurationError(f"{place}: unknown key {key!r}.", hint=f"Known here: {known}.")
    return read


def _value(value: Any, type: Any, flag: TyperOption, place: str) -> Any:
    """A value as click is to have it; None is as good as a line left out."""
    if value is None:
        return None
    if flag.multiple:
        return _several(value, flag, place)
    # What a flag may be besides None.
    [wanted] = [each for each in get_args(type) if each is not NoneType] or [type]
    if wanted is bool:
        if not isinstance(value, bool):
            raise ConfigurationError(f"{place}: {value!r} is not true or false.", hint="Write true or false.")
    elif wanted in (int, float):
        kinds = "a whole number" if wanted is int else "a number"
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or _number(value, wanted) is None:
            raise ConfigurationError(f"{place}: {value!r} is not {kinds}.", hint=f"Write {kinds}.")
        return _number(value, wanted)
    elif not isinstance(value, str):
        # YAML has read 007, no or 2026-01-01 as something that cannot be turned back into what was written.
        raise ConfigurationError(f"{place}: {value!r} is not text.", hint="Put it in quotes.")
    return value


def _number(value: float | str, wanted: Any) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if wanted is float:
        return number
    return int(number) if number.is_integer() else None


def _several(value: Any, flag: TyperOption, place: str) -> list[str]:
    form = flag.metavar or "TEXT"
    pairs = "=" in form
    if pairs and isinstance(value, dict):
        value = [f"{name}={each}" if isinstance(each, str) else each for name, each in value.items()]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        left, _, right = form.partition("=")
        ways = f"a list of {form}" + (f", or {left}: {right} line by line" if pairs else "")
        raise ConfigurationError(f"{place}: {value!r} is not {ways}.", hint=f"Write {ways}.")
    return value
