"""The supervisor: starts the servers of a state folder, watches them, and ends them all together.

``python -m mz_orchestration.local.supervisor`` is what a detached stack runs. It holds the folder's lock for its
whole life. The servers end when their standard input closes, so they follow it even when it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mz_orchestration.local import processes, s3_access
from mz_orchestration.local.child import Child, child_environment
from mz_orchestration.local.errors import LocalStackError
from mz_orchestration.local.servers import SERVERS, Launch, ServerSpec
from mz_orchestration.local.state import HOST, Folder, Secrets, Server, State

READY_DEADLINE = 90.0
WIRING_DEADLINE = 60.0
STOP_GRACE = 10.0


class Supervisor:
    """Runs one stack from start to end.

    Args:
        folder: The state folder.
        port_base: Port of the first server; the others follow. 0 takes free ports.
        servers: Names of the servers to start.
        say: Called with each sentence for the person who started the stack.
        ready: Called once when everything listens and is set up.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        port_base: int,
        servers: Sequence[str] = tuple(SERVERS),
        say: Callable[[str], None],
        ready: Callable[[State], None],
    ) -> None:
        self._folder = folder
        self._port_base = port_base
        self._specs = [SERVERS[name] for name in servers]
        self._say = say
        self._ready = ready
        self._children: dict[str, Child] = {}

    def run(self) -> None:
        """Start the stack and return when it was asked to end and has ended.

        Raises:
            LocalStackError: It could not start, or a server ended unexpectedly. Nothing is left running.
        """
        self._folder.create()
        with self._folder.hold() as token:
            self._recover(token)
            self._folder.clear()
            self._check_ports()
            asyncio.run(self._run(token))

    def _recover(self, token: str) -> None:
        # Servers of a killed supervisor end themselves; they get a moment to do so.
        leftovers = processes.end(token, grace=3.0)
        if leftovers:
            self._say(f"Stopped {len(leftovers)} processes an earlier run had left in {self._folder.path}.")

    def _check_ports(self) -> None:
        if self._port_base == 0:
            return
        for spec in self._specs:
            port = self._port_base + spec.offset
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise LocalStackError(_port_problem(port, spec, error)) from None

    async def _run(self, token: str) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        asked = asyncio.create_task(stop.wait())
        start = asyncio.create_task(self._start(token))
        try:
            await asyncio.wait({asked, start}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return
            await start
            ends = {asyncio.create_task(child.ended()) for child in self._children.values()}
            done, _ = await asyncio.wait({asked, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if asked not in done:
                raise LocalStackError(f"{done.pop().result()} The stack was stopped.")
        finally:
            start.cancel()
            # Its error, if any, was raised above.
            await asyncio.gather(start, return_exceptions=True)
            await self._stop(token)

    async def _start(self, token: str) -> None:
        secrets = Secrets.random(s3_access.USERS)
        ports: dict[str, int] = {}
        if self._port_base:
            ports = {spec.name: self._port_base + spec.offset for spec in self._specs}
        servers: dict[str, Server] = {}
        waiting = list(self._specs)
        while waiting:
            # With fixed ports all start at once; with free ones a server waits for those it must know.
            wave = [spec for spec in waiting if all(name in ports for name in spec.needs)]
            waiting = [spec for spec in waiting if spec not in wave]
            ready = await self._start_wave(wave, secrets, ports, token)
            servers.update(ready)
            ports.update({name: server.port for name, server in ready.items()})
        state = State(
            supervisor_pid=os.getpid(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            servers=servers,
            secrets=secrets,
        )
        await self._wire(state, token)
        self._folder.write(state)
        self._ready(state)

    async def _start_wave(
        self, wave: Sequence[ServerSpec], secrets: Secrets, ports: Mapping[str, int], token: str
    ) -> dict[str, Server]:
        launch = Launch(folder=self._folder, secrets=secrets, ports=ports)
        children = [Child(spec, launch, ports.get(spec.name, 0), token) for spec in wave]
        for child in children:
            self._children[child.spec.name] = child
            await child.start()
        started = await asyncio.gather(*(child.ready(READY_DEADLINE) for child in children))
        return {server.name: server for server in started}

    async def _wire(self, state: State, token: str) -> None:
        """Set the servers up as a user would, in a process of its own that can be ended at any moment."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mz_orchestration.local.wiring"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(token),
            start_new_session=True,
        )
        try:
            _, errors = await asyncio.wait_for(process.communicate(state.model_dump_json().encode()), WIRING_DEADLINE)
        except TimeoutError:
            raise LocalStackError(
                f"setting up the servers did not finish within {WIRING_DEADLINE:g} s; see the logs in "
                f"{self._folder.logs}"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = errors.decode(errors="replace").strip().splitlines()
            raise LocalStackError(
                f"setting up the servers failed: {reason[-1] if reason else 'no message'} (logs in {self._folder.logs})"
            )

    async def _stop(self, token: str) -> None:
        self._folder.remove_state()
        await asyncio.gather(*(child.stop(STOP_GRACE) for child in self._children.values()))
        # Whatever a server started and did not end itself.
        await asyncio.to_thread(processes.end, token, grace=2.0)


def _port_problem(port: int, spec: ServerSpec, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} ({spec.title}) is taken by another program. Choose other ports with --port-base N, or let "
            "the stack take free ones with --port-base 0."
        )
    return f"port {port} ({spec.title}) cannot be used: {error.strerror}. Let the stack choose with --port-base 0."


def main(argv: list[str] | None = None) -> int:
    """Run a detached supervisor that reports on standard output, one JSON object a line, until it is ready."""
    parser = argparse.ArgumentParser(prog="python -m mz_orchestration.local.supervisor")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port-base", type=int, required=True)
    parser.add_argument("--servers", default=",".join(SERVERS))
    arguments = parser.parse_args(argv)

    def report(kind: str, text: str) -> None:
        # If nobody listens any more the pipe breaks, and the stack ends: it was never handed over.
        print(json.dumps({kind: text}), flush=True)

    def ready(state: State) -> None:
        report("ready", state.started_at)
        # The starter leaves; from here on there is only the log, which standard error already goes to.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    supervisor = Supervisor(
        Folder(arguments.dir),
        port_base=arguments.port_base,
        servers=arguments.servers.split(","),
        say=lambda text: report("say", text),
        ready=ready,
    )
    try:
        supervisor.run()
    except BrokenPipeError:
        print("Whoever started the stack is gone; it was stopped.", file=sys.stderr, flush=True)
        # Standard output still holds the line that did not get through, and would fail again at the exit.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return 1
    except LocalStackError as error:
        print(error, file=sys.stderr, flush=True)
        with contextlib.suppress(BrokenPipeError):
            report("failed", str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
