"""One server process: started, heard until it says it is ready, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.processes import TOKEN_VARIABLE
from mz_orchestration.local.servers import Launch, ServerSpec
from mz_orchestration.local.state import HOST, Server

# No process of the stack may look for a cloud or be led elsewhere by settings meant for real systems.
_QUIET = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true",
    "PYTHONUNBUFFERED": "1",
}
_FOREIGN_PREFIXES = ("AWS_", "CENSUS_", "MOTO_", "SNOWFLAKE_", "PG", "MZ_LOCAL_")


def child_environment(token: str) -> dict[str, str]:
    """Return the environment of every process of a stack.

    Args:
        token: The folder's token.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN_PREFIXES)}
    return {**inherited, **_QUIET, TOKEN_VARIABLE: token}


class Child:
    """A server process and the pipe it listens to: when the pipe closes, the server ends itself.

    Args:
        spec: How to start it.
        launch: What its arguments are made from.
        port: The port to ask for; 0 lets it choose.
        token: The folder's token.
    """

    def __init__(self, spec: ServerSpec, launch: Launch, port: int, token: str) -> None:
        self.spec = spec
        self.port = port
        self.log: Path = launch.folder.log(spec.name)
        self._launch = launch
        self._token = token
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process."""
        environment = {**child_environment(self._token), **self.spec.environment(self._launch)}
        command = [sys.executable, "-m", self.spec.module, "--host", HOST, "--port", str(self.port)]
        # Truncated here, then appended to by both of the process's outputs.
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                *self.spec.arguments(self._launch),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                # Ctrl-C in a terminal reaches the whole group: the supervisor decides the order of the end.
                start_new_session=True,
            )
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self.log.open("ab") as log:
            while line := await self._process.stdout.readline():
                port = _ready_port(line)
                if port is not None and not self._ready.done():
                    self._ready.set_result(port)
                else:
                    log.write(line)
                    log.flush()

    async def ready(self, deadline: float) -> Server:
        """Wait until it listens.

        Args:
            deadline: Seconds to wait.

        Raises:
            LocalStackError: It ended or stayed silent.
        """
        assert self._process is not None
        ended = asyncio.create_task(self._process.wait())
        try:
            done, _ = await asyncio.wait({self._ready, ended}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if self._ready in done:
            self.port = self._ready.result()
            return Server(name=self.spec.name, port=self.port, pid=self._process.pid, log=self.log)
        if done:
            raise LocalStackError(f"{self.spec.title} ended while starting ({self._ending()}).{self._last_words()}")
        raise LocalStackError(
            f"{self.spec.title} did not get ready within {deadline:g} s. Its log: {self.log}{self._last_words()}"
        )

    async def ended(self) -> str:
        """Wait until the process ends, and say how."""
        assert self._process is not None
        await self._process.wait()
        return f"{self.spec.title} ended unexpectedly ({self._ending()}).{self._last_words()}"

    async def stop(self, grace: float) -> None:
        """End the process: close its input, ask it, and after the grace kill it.

        Args:
            grace: Seconds it gets to end by itself.
        """
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), grace)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._reader is not None:
            # A grandchild may keep the pipe open; nothing it says matters any more.
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    def _ending(self) -> str:
        code = self._process.returncode if self._process is not None else None
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f"{how}, log {self.log}"

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f" It said last: {lines[-1].strip()[:500]}" if lines else ""


def _ready_port(line: bytes) -> int | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if isinstance(message, dict) and message.get("ready") is True and isinstance(message.get("port"), int):
        return int(message["port"])
    return None
