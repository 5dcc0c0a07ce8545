"""The wait command over a real bucket."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from mz_orchestration.exports.watch.wait import WaitPolicy, await_export, wait
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.location import Location

QUICK = ("--poll", "0.2", "--settle", "0.2")


def test_the_command_returns_when_the_sentinel_is_gone(new_export: Any, command: Any) -> None:
    export = new_export().begin().write()
    waiting = command(str(export.folder), *QUICK)
    waiting.says("its sentinel is there beside 1 data files")
    export.write(1).end()
    code, output, _ = waiting.ended()
    assert code == 0
    assert output == f"complete: {export.folder}  files=2 size=8 B\n"


def test_json_names_every_file(new_export: Any, command: Any) -> None:
    export = new_export("tiny").write()
    code, output, errors = command(str(export.folder), *QUICK, "--json", "--quiet").ended()
    assert (code, errors) == (0, "")
    answer = json.loads(output)
    assert [file["key"] for file in answer["files"]] == [f"{export.folder.key}mz-t12-batch-0000-0000.parquet"]
    assert answer["files"][0]["bytes"] == answer["bytes"] == 4
    assert answer["sentinel_seen"] == 0


def test_exit_codes(new_export: Any, command: Any, base: Location) -> None:
    running, old, tiny = new_export("running").begin(), new_export("old").begin().write(), new_export("tiny").write()
    started = {
        5: command(str(running.folder), *QUICK, "--deadline", "1"),
        3: command(str(old.folder), *QUICK, "--abandoned-after", "0.001"),
        2: command(str(base), *QUICK),
    }
    ended = {code: each.ended() for code, each in started.items()}
    assert {code: answer[0] for code, answer in ended.items()} == {5: 5, 3: 3, 2: 2}
    assert "its sentinel is there" in ended[5][2]
    assert f"again: mz-orchestration wait {running.folder}" in ended[5][2]
    assert "is abandoned" in ended[3][2]
    assert "it holds folders (old/, running/, tiny/)" in ended[2][2]
    assert str(tiny.folder) in ended[2][2]


def test_without_permission_nothing_is_said_to_be_complete(new_export: Any, command: Any, stack: LocalStack) -> None:
    export = new_export().begin().write()
    code, output, errors = command(
        str(export.folder), *QUICK, AWS_ACCESS_KEY_ID="AKIAUNKNOWN000000000", AWS_SECRET_ACCESS_KEY="x" * 40
    ).ended()
    assert (code, output) == (3, "")
    assert "refused" in errors


def test_sigterm_ends_the_wait(new_export: Any, command: Any) -> None:
    waiting = command(str(new_export().begin().folder), *QUICK)
    waiting.says("its sentinel is there")
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.ended()[0] == 143


def test_a_tiny_export_costs_two_listings(
    new_export: Any, requests: Callable[[Location], list[str]], store: Any
) -> None:
    export = new_export().write()
    before = len(requests(export.folder))
    done = wait(export.folder, store=store, policy=WaitPolicy(settle=0.1))
    assert requests(export.folder)[before:] == ["LIST", "LIST"]
    assert done.size == 4


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_on_an_event_loop(new_export: Any, store: Any, scheme: str) -> None:
    import asyncio

    export = new_export().begin()

    async def both() -> int:
        folder = Location(export.folder.bucket, export.folder.key, scheme)
        waiting = asyncio.create_task(await_export(folder, store=store, policy=WaitPolicy(poll=0.1)))
        await asyncio.to_thread(lambda: export.write().end())
        return len((await waiting).files)

    assert asyncio.run(both()) == 1
