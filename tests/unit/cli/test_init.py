"""What init writes: read back by what reads it, whatever the names are."""

from __future__ import annotations

import configparser
import os
import pty
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from mz_orchestration.cli import init_templates
from mz_orchestration.cli.cron_expression import parse_cron
from mz_orchestration.cli.init import check, init
from mz_orchestration.cli.init_templates import Answers, crontab, module_name, render, service
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.reading import read_pipeline

REQUIRED = ("--to", "s3://exports/nightly/", "--connection", "aws", "--object", "shop.orders")
FILES = {
    "pipeline.yaml",
    "pipeline.schema.json",
    "crontab",
    "systemd/nightly.service",
    "systemd/nightly.timer",
    "dags/nightly.py",
    "dagster_defs/nightly.py",
    "env.example",
}
ANSWERS = Answers(
    folder=Path("/srv/exports"),
    name="nightly",
    to="s3://exports/nightly/",
    connection="aws",
    objects=("shop.orders",),
    together=False,
    stage=None,
    tables=(),
    syncs=(),
    schedule=parse_cron("0 2 * * *"),
    runners=("cron", "airflow", "dagster"),
    command=("/usr/bin/mz-orchestration",),
    user=None,
)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(init)
    return CliRunner().invoke(app, list(arguments))


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_flags_alone_are_enough(tmp_path: Path) -> None:
    result = run(str(tmp_path), *REQUIRED)
    assert result.exit_code == 0, result.output
    assert files_in(tmp_path) == FILES
    plan = read_pipeline(tmp_path / "pipeline.yaml")
    assert [node.name for node in plan.nodes] == ["export shop.orders", "check shop.orders"]


def test_all_flags(tmp_path: Path) -> None:
    more = "--object|a.orders|--object|b.B|--stage|D.S.STAGE|--schema|D.S|--sync|7|--sync|x-8|--name|my-pipe|--for|cron"
    result = run(str(tmp_path), *REQUIRED, *more.split("|"), "--schedule", "@hourly")
    assert result.exit_code == 0, result.output
    assert files_in(tmp_path) == {
        *("pipeline.yaml", "pipeline.schema.json", "crontab", "systemd/my-pipe.service", "systemd/my-pipe.timer"),
        "env.example",
    }
    spec = read_pipeline(tmp_path / "pipeline.yaml").spec
    assert [load.table for load in spec.loads] == ["D.S.SHOP_ORDERS", "D.S.A_ORDERS", "D.S.B"]
    assert {export.consistency_group for export in spec.exports} == {"my-pipe"}
    assert [(sync.sync, len(sync.after)) for sync in spec.syncs] == [(7, 3), ("x-8", 3)]
    assert "\n0 * * * * cd " in (tmp_path / "crontab").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--to and --connection and --object are missing."),
        (REQUIRED[2:], "--to is missing."),
        ((*REQUIRED, "--name", "a b"), "--name: 'a b' is not a name of a pipeline."),
        ((*REQUIRED, "--to", "exports"), "--to: "),
        ((*REQUIRED, "--object", "a..b"), "--object: 'a..b' is not a name"),
        ((*REQUIRED, "--object", 'shop."a\nb"'), "must be printable"),
        ((*REQUIRED, "--object", "shop.orders"), "--object shop.orders is there twice."),
        ((*REQUIRED, "--stage", "D.S.X"), "--schema is missing."),
        ((*REQUIRED, "--schema", "D.S"), "--stage is missing."),
        ((*REQUIRED, "--stage", "D.S.X", "--schema", "A.B.C"), "--schema: 'A.B.C' is not a schema."),
        ((*REQUIRED, "--sync", "1;2"), "--sync: '1;2' is not the id of a sync."),
        ((*REQUIRED, "--for", "cron,systemd"), "--for: 'systemd' runs nothing here."),
        ((*REQUIRED, "--schedule", "nightly"), "--schedule: 'nightly' is no cron expression"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = run(str(tmp_path / "new"), *arguments)
    assert (result.exit_code, (tmp_path / "new").exists()) == (2, False)
    assert message in result.output


def test_nothing_is_overwritten_and_nothing_is_half_written(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/nightly.py").write_text("mine")
    result = run(str(tmp_path), *REQUIRED)
    assert result.exit_code == 2
    assert "Nothing was written: dags/nightly.py exists" in result.output
    assert files_in(tmp_path) == {"dags/nightly.py"}
    assert (tmp_path / "dags/nightly.py").read_text() == "mine"
    assert run(str(tmp_path), *REQUIRED, "--force").exit_code == 0
    assert files_in(tmp_path) == FILES
    assert "dag_from_pipeline" in (tmp_path / "dags/nightly.py").read_text()


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "dagster_defs").write_text("a file")
    result = run(str(tmp_path), *REQUIRED)
    assert result.exit_code == 2
    assert "dagster_defs cannot be written: " in result.output
    assert files_in(tmp_path) == {"dagster_defs"}


def test_the_questions(tmp_path: Path) -> None:
    code = "import typer; from mz_orchestration.cli.init import init; app = typer.Typer(); app.command()(init); app()"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(theirs)
    answers = ["not a name", "asked", "s3://exports/asked/", "aws", "shop.orders", "shop.lines", "", "n", "D.S.STAGE"]
    answers += ["D.S", "7", "", "61 * * * *", "", "cron"]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    output = process.communicate(timeout=60)[0].decode()
    os.close(ours)
    assert process.returncode == 0, output
    assert "'not a name' is not a name of a pipeline." in output
    assert "minute 61 is not between 0 and 59" in output
    spec = read_pipeline(tmp_path / "pipeline.yaml").spec
    assert (spec.name, [load.table for load in spec.loads]) == ("asked", ["D.S.ORDERS", "D.S.LINES"])
    assert [export.consistency_group for export in spec.exports] == [None, None]
    assert not (tmp_path / "dags").exists()


part = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=20)


def quoted(*parts: str) -> str:
    return ".".join('"' + each.replace('"', '""') + '"' for each in parts)


@settings(max_examples=60, deadline=None)
@given(schema=part, name=part, connection=part, table=part)
def test_every_name_comes_back_from_the_pipeline_file(schema: str, name: str, connection: str, table: str) -> None:
    answers = replace(
        ANSWERS,
        connection=quoted(connection),
        objects=(quoted(schema, name), "a.b"),
        together=True,
        stage=quoted("D", "S", "$" + "{X}"),
        tables=(quoted("D", "S", table), "D.S.B__"),
        syncs=("007",),
    )
    check(answers, render(answers))


def as_cron_reads(line: str) -> str:
    """The command, after cron has looked for percent signs in it."""
    command, escaped = "", False
    for sign in line:
        if escaped:
            command = command[:-1] + sign if sign == "%" else command + sign
            escaped = False
        elif sign == "%":
            raise AssertionError("cron takes the rest for the command's input")
        else:
            command += sign
            escaped = sign == "\\"
    return command


nasty = st.text(st.sampled_from("a \\%'\"$`!*?[]{}~#;&|é☃=-"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(folder=nasty, program=nasty)
def test_every_path_comes_back_from_cron_and_systemd(folder: str, program: str) -> None:
    answers = replace(ANSWERS, folder=Path("/srv") / f"{folder}x", command=(f"/opt/{program}",))
    line = crontab(answers).splitlines()[-1].split(" ", 5)[-1]
    words = shlex.split(as_cron_reads(line))
    assert words[:2] == ["cd", str(answers.folder)]
    assert words[words.index("exec") + 1] == f"/opt/{program}"
    unit = service(answers)
    [folder_line] = [each for each in unit.splitlines() if each.startswith("WorkingDirectory=")]
    assert folder_line.partition("=")[2].replace("%%", "%") == str(answers.folder)
    [command] = [each for each in unit.splitlines() if each.startswith("ExecStart=/bin/sh -c ")]
    written = command.partition(" -c ")[2]
    assert (written[0], written[-1]) == ('"', '"')
    # systemd unescapes backslashes as C does, then fills in specifiers and variables.
    plain = written[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\")
    plain = plain.replace("%%", "%").replace("$$", "$")
    assert shlex.split(plain)[:2] == ["exec", f"/opt/{program}"]
    assert '--run-key "$(date -u +%Y-%m-%dT%H:%M)"' in plain


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    folder = tmp_path / "100% of $it"
    assert run(str(folder), *REQUIRED, "--schedule", "*/20 1,2 1-3 * mon-fri").exit_code == 0
    units = sorted((folder / "systemd").iterdir())
    sections = [{"Unit", "Service"}, {"Unit", "Timer", "Install"}]
    for unit, names in zip(units, sections, strict=True):
        parser = configparser.RawConfigParser(strict=False)
        parser.read(unit)
        assert set(parser.sections()) == names
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("cron", "calendar"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00"]),
        ("*/15 * * * *", ["*-*-* *:00,15,30,45:00"]),
        ("@weekly", ["Sun *-*-* 00:00:00"]),
        ("5 4 1 */6 *", ["*-01,07-01 04:05:00"]),
        ("0 0 * jan mon-wed,7", ["Mon,Tue,Wed,Sun *-01-* 00:00:00"]),
        # Days of the month or of the week.
        ("0 0 13 * fri", ["Fri *-*-* 00:00:00", "*-*-13 00:00:00"]),
        ("0 1-5/2 29 2 *", ["*-02-29 01,03,05:00:00"]),
    ],
)
def test_a_cron_expression_for_systemd(cron: str, calendar: list[str]) -> None:
    assert list(parse_cron(cron).calendar) == calendar


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 2 * *", "not five fields"),
        ("60 2 * * *", "minute 60"),
        ("0 2 * * fri-mon", "a range goes upwards"),
        ("0 5/2 * * *", "a step is a number behind"),
        ("0 */0 * * *", "a step is a number behind"),
        ("0 0 30 2 *", "there is no such date"),
        ("0 0 ² * *", "'²' is no day of the month"),
        ("0 0 L * *", "'L' is no day of the month"),
        ("", "not five fields"),
    ],
)
def test_no_cron_expression(cron: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_cron(cron)


def test_a_module_stands_in_no_others_way() -> None:
    names = ["nightly", "my-pipe", "2nd", "json", "airflow", "import"]
    wanted = ["nightly", "my_pipe", "pipeline_2nd", "pipeline_json", "pipeline_airflow", "pipeline_import"]
    assert [module_name(name) for name in names] == wanted


def test_a_line_that_cron_would_cut_off_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="characters long"):
        crontab(replace(ANSWERS, folder=Path("/srv") / ("x" * init_templates._LONGEST_COMMAND)))
