"""Settings from YAML: defaults for flags, one section per command.

A flag on the command line wins over its environment variable, that over the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        ConfigurationError: The file is missing, no YAML, or has a section or key that no command knows.
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
            read[name] = value
        else:
            known = ", ".join(sorted([*subcommands, *(name.replace("_", "-") for name in flags)]))
            raise ConfigurationError(f"{place}: unknown key {key!r}.", hint=f"Known here: {known}.")
    return read
