"""What one process remembers for the next, in a file: for checks that cron runs every minute."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from mz_orchestration.errors import ConfigurationError


def read_state(path: Path) -> Any:
    """What the file holds; None if there is none yet.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It cannot be read, or holds something else.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"--state: {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigurationError(
            f"--state: {path} does not hold what was remembered of sinks.", hint="Delete it to begin anew."
        ) from error


def write_state(path: Path, state: Any) -> None:
    """Write the file as a whole, or not at all.

    Args:
        path: The file.
        state: JSON.

    Raises:
        ConfigurationError: It cannot be written.
    """
    write_whole(path, json.dumps(state, separators=(",", ":")), field="--state")


def write_whole(path: Path, text: str, *, field: str) -> None:
    """Write a text file so that whoever reads it sees all of it, or what was there before.

    Args:
        path: The file.
        text: What it holds then.
        field: What named the file, for errors.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            # As any other file; temporary ones are for their owner alone.
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"{field}: {path} cannot be written: {error.strerror}.", hint="Name a file in a folder that is there."
        ) from error
