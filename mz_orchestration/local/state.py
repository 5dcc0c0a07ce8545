"""The state folder of a local stack: where things lie, what runs, and who holds it.

A supervisor holds ``lock`` for as long as it lives; the kernel lets go of it however the supervisor ends. Names,
ports and secrets are in ``state.json``, readable by its owner only and present only while the stack is up.
``token`` marks every process of this folder, so that a later start can prove which leftovers are its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mz_orchestration.local.errors import AlreadyRunning, LocalStackError

DEFAULT_FOLDER = Path(".mz-local")
HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKET = "mz-exports"

#: Seconds before a held lock counts as a running stack: asking for the holder takes the lock for an instant, and a
#: process that was just killed keeps it for another.
PATIENCE = 0.5


class AccessKey(BaseModel):
    """A static AWS key pair."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key_id: str
    secret_access_key: str = Field(repr=False)

    @classmethod
    def random(cls) -> AccessKey:
        """Return a new pair in the shape of AWS's long-term keys."""
        # Base32 letters, which is what real key ids are made of.
        key_id = "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16))
        return cls(access_key_id=f"AKIA{key_id}", secret_access_key=secrets.token_hex(20))


class Secrets(BaseModel):
    """Passwords and keys of one run of the stack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    materialize_password: str = Field(repr=False)
    snowflake_password: str = Field(repr=False)
    census_token: str = Field(repr=False)
    census_workspace_key: str = Field(repr=False)
    access_keys: dict[str, AccessKey]

    @classmethod
    def random(cls, users: tuple[str, ...]) -> Secrets:
        """Return new secrets, with one access key per user."""
        return cls(
            materialize_password=secrets.token_urlsafe(18),
            snowflake_password=secrets.token_urlsafe(18),
            census_token=secrets.token_urlsafe(24),
            census_workspace_key=secrets.token_urlsafe(24),
            access_keys={user: AccessKey.random() for user in users},
        )


class Server(BaseModel):
    """One running server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    port: int
    pid: int
    log: Path


class State(BaseModel):
    """What runs in a state folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    supervisor_pid: int
    started_at: str
    servers: dict[str, Server]
    secrets: Secrets


class Folder:
    """A state folder, resolved to its real path.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.lock_file = self.path / "lock"
        self.state_file = self.path / "state.json"
        self.token_file = self.path / "token"
        self.logs = self.path / "logs"
        self.supervisor_log = self.logs / "supervisor.log"
        self.statements = self.path / "statements.jsonl"
        self.s3_requests = self.path / "s3_requests.jsonl"
        self.census_requests = self.path / "census-requests.jsonl"

    def log(self, server: str) -> Path:
        """Return the log file of a server."""
        return self.logs / f"{server}.log"

    def create(self) -> None:
        """Create the folder, for its owner only.

        Raises:
            LocalStackError: The folder cannot be created or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalStackError(
                f"--dir {self.path}: cannot use this folder ({error.strerror}). Name one you may write, for example "
                f"--dir {DEFAULT_FOLDER}."
            ) from error

    def token(self) -> str | None:
        """Return the token every process of this folder carries, or None if nothing was ever started here."""
        try:
            return self.token_file.read_text() or None
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Remove what an earlier run left: its state, statements, requests and logs.

        The servers' own folders stay: they name what an earlier run left elsewhere.
        """
        for path in (self.state_file, self.statements, self.s3_requests, self.census_requests):
            path.unlink(missing_ok=True)
        for log in self.logs.glob("*.log"):
            # Emptied, not removed: a detached supervisor is already writing to its own.
            os.truncate(log, 0)

    def remove_state(self) -> None:
        """Remove the state file, so that nobody reads the secrets of a stack that is gone."""
        self.state_file.unlink(missing_ok=True)

    def write(self, state: State) -> None:
        """Replace the state file in one step."""
        _write_private(self.state_file, state.model_dump_json(indent=2))

    def read(self) -> State | None:
        """Return the state of the running stack, or None if none is up.

        Raises:
            LocalStackError: The state file is not one of ours.
        """
        if self.holder() is None:
            return None
        try:
            return State.model_validate_json(self.state_file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise LocalStackError(
                f"{self.state_file}: not a state file this version wrote ({error.error_count()} errors). "
                f"Stop the stack with 'mz-orchestration local down --dir {self.path}' and start it again."
            ) from None

    @contextmanager
    def hold(self) -> Iterator[str]:
        """Hold the folder for this process, and yield its token.

        Raises:
            AlreadyRunning: Another supervisor holds it.
        """
        # Never truncated before it is ours, and never removed: a removed lock file could be held twice.
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            until = time.monotonic() + PATIENCE
            while not _try_lock(descriptor):
                if time.monotonic() >= until:
                    raise AlreadyRunning(self.path, _holder_pid(descriptor))
                time.sleep(0.03)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield self._own_token()
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _own_token(self) -> str:
        # Only for the holder: of two processes that each made one, the first would lose sight of its servers.
        token = self.token()
        if token is None:
            token = secrets.token_hex(16)
            _write_private(self.token_file, token)
        return token

    def check_free(self) -> None:
        """Make sure that nobody holds the folder now.

        Raises:
            AlreadyRunning: A supervisor holds it.
        """
        until = time.monotonic() + PATIENCE
        while (pid := self.holder()) is not None:
            if time.monotonic() >= until:
                raise AlreadyRunning(self.path, pid)
            time.sleep(0.03)

    def holder(self) -> int | None:
        """Return the process id of the supervisor that holds the folder, or None.

        The id is 0 in the moment between taking the lock and writing the id.
        """
        try:
            descriptor = os.open(self.lock_file, os.O_RDWR)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return None if _try_lock(descriptor, shared=True) else _holder_pid(descriptor)
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder_pid(descriptor: int) -> int:
    written = os.pread(descriptor, 32, 0)
    return int(written) if written.isdigit() else 0


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
