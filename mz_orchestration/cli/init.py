"""``mz-orchestration init``: write a pipeline file, and what runs it."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from mz_orchestration.cli.cron_expression import parse_cron
from mz_orchestration.cli.init_templates import PIPELINE_FILE, RUNNERS, Answers, render
from mz_orchestration.cli.output import printable, reporting, say
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.objectstore.location import parse_folder
from mz_orchestration.snowflake.quoting import parse_name

_NAME = "nightly"
_SCHEDULE = "0 2 * * *"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it does not exist.")] = Path(
        "."
    ),
    name: Annotated[
        str | None, typer.Option(help=f"Name of the pipeline; {_NAME} by default.", show_default=False)
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Folder below which every run gets its own path: s3://bucket/folder/.", envvar="MZ_ORCHESTRATION_TO"
        ),
    ] = None,
    connection: Annotated[
        str | None, typer.Option(help="Materialize's AWS connection.", envvar="MZ_ORCHESTRATION_CONNECTION")
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option(
            "--object", metavar="OBJECT", help="Table, source, view or materialized view to export. Repeatable."
        ),
    ] = None,
    together: Annotated[
        bool | None,
        typer.Option(
            "--together/--apart",
            help="Read all objects at one logical timestamp (default), or each at its own.",
            show_default=False,
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            help="Snowflake: external stage that covers the folder; goes with --schema.",
            envvar="MZ_ORCHESTRATION_STAGE",
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="DATABASE.SCHEMA", help="Snowflake: where tables named after the objects are made."),
    ] = None,
    syncs: Annotated[
        list[str] | None,
        typer.Option("--sync", metavar="ID", help="Census sync to run after everything else. Repeatable."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help=f"Cron expression; '{_SCHEDULE}' by default.", metavar="CRON", show_default=False),
    ] = None,
    runners: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="cron,airflow,dagster", help="What is to run it; all three by default.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write a pipeline file, and a crontab line, a systemd timer, an Airflow DAG and Dagster definitions that run it.

    In a terminal, what no flag says is asked for. Nothing is contacted, and nothing is overwritten.
    """
    with reporting(as_json=False):
        ask = _Questions(asking=not yes and sys.stdin.isatty())
        try:
            name = ask.one(name or None, "--name", "Name of the pipeline", _name, default=_NAME)
            to = ask.one(to, "--to", "Folder for the exports, s3://bucket/folder/", _folder)
            connection = ask.one(connection, "--connection", "Materialize's AWS connection", _object)
            names = ask.several(objects, "--object", "Object to export", _object, required=True)
            if together is None:
                together = len(names) < 2 or ask.yes("Read all of them at one logical timestamp?")
            stage = ask.one(stage, "--stage", "Snowflake's stage over the folder (empty: no loads)", _stage, default="")
            if stage or schema:
                for flag, value in (("--stage", stage), ("--schema", schema)):
                    if not value and not (flag == "--schema" and ask.asking):
                        raise ConfigurationError(f"{flag} is missing.", hint="Loads need --stage and --schema.")
                schema = ask.one(schema, "--schema", "Snowflake's schema for the tables, DATABASE.SCHEMA", _schema)
            ids = ask.several(syncs, "--sync", "Census sync to run afterwards", _sync)
            text = ask.one(schedule, "--schedule", "Schedule as a cron expression", _schedule, default=_SCHEDULE)
            chosen = ask.one(runners, "--for", "What runs it", _runners, default=",".join(RUNNERS))
        except typer.Abort as abort:
            raise KeyboardInterrupt from abort
        ask.refuse_what_is_missing()
        answers = Answers(
            folder=_absolute(folder),
            name=name,
            to=to,
            connection=connection,
            objects=tuple(names),
            together=together and len(names) > 1,
            stage=stage or None,
            tables=tuple(_tables(names, schema)) if stage and schema else (),
            syncs=tuple(ids),
            schedule=parse_cron(text),
            runners=tuple(chosen.split(",")),
            command=_command(),
            user=_user(),
        )
        files = render(answers)
        check(answers, files)
        write(answers.folder, files, force=force)
    for path in files:
        typer.echo(printable(str(folder / path)))
    pipeline = shlex.quote(str(folder / PIPELINE_FILE))
    say("next:")
    for command in (f"validate {pipeline}", f"plan {pipeline}", f'run {pipeline} --run-key "$(date -u +%F)"'):
        say(f"  mz-orchestration pipeline {command}")


class _Questions:
    """Flags, questions for those that were not given, and what is missing where nobody can be asked."""

    def __init__(self, *, asking: bool) -> None:
        self.asking = asking
        self._missing: list[str] = []

    def one(
        self, given: str | None, flag: str, question: str, check: Callable[[str], str], default: str | None = None
    ) -> str:
        if given is not None:
            return _checked(flag, given, check)
        if self.asking:
            return str(
                typer.prompt(question, default=default, value_proc=_asked(check), err=True, show_default=bool(default))
            )
        if default is None:
            self._missing.append(flag)
        return default or ""

    def several(
        self,
        given: Sequence[str] | None,
        flag: str,
        question: str,
        check: Callable[[str], str],
        *,
        required: bool = False,
    ) -> list[str]:
        found = [_checked(flag, each, check) for each in given or ()]
        if not found and self.asking:
            while True:
                answer = str(
                    typer.prompt(
                        f"{question} (empty: no {'more' if found else 'one'})" if found or not required else question,
                        default="" if found or not required else None,
                        value_proc=_asked(lambda text: check(text) if text else ""),
                        err=True,
                        show_default=False,
                    )
                )
                if not answer:
                    break
                found.append(answer)
        if not found and required:
            self._missing.append(flag)
        repeated = [each for each, times in Counter(found).items() if times > 1]
        if repeated:
            raise ConfigurationError(f"{flag} {repeated[0]} is there twice.", hint="Name each one once.")
        return found

    def yes(self, question: str) -> bool:
        return not self.asking or typer.confirm(question, default=True, err=True)

    def refuse_what_is_missing(self) -> None:
        if self._missing:
            flags = " and ".join(self._missing)
            raise ConfigurationError(
                f"{flags} {'is' if len(self._missing) == 1 else 'are'} missing.",
                hint="Give what is missing, or run this in a terminal to be asked.",
            )


def check(answers: Answers, files: Mapping[str, str]) -> None:
    """Read the files as their readers will.

    Raises:
        ConfigurationError: One of them is wrong, or does not say what was asked for.
    """
    from mz_orchestration.pipelines.reading import parse_pipeline

    spec = parse_pipeline(files[PIPELINE_FILE], source=PIPELINE_FILE, environment={}).spec
    wanted = (answers.to, answers.connection, answers.stage, answers.objects, answers.tables, answers.syncs)
    objects = tuple(export.object for export in spec.exports)
    tables, syncs = tuple(load.table for load in spec.loads), tuple(str(sync.sync) for sync in spec.syncs)
    if wanted != (spec.defaults.to, spec.defaults.connection, spec.defaults.stage, objects, tables, syncs):
        raise ConfigurationError(f"{PIPELINE_FILE} would not say what was asked for.", hint="Choose plainer names.")
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


def write(folder: Path, files: Mapping[str, str], *, force: bool) -> None:
    """Write all files or none.

    Raises:
        ConfigurationError: Files exist, or cannot be written.
    """
    existing = [path for path in files if os.path.lexists(folder / path)]
    if existing and not force:
        raise ConfigurationError(
            f"Nothing was written: {', '.join(existing)} {'exists' if len(existing) == 1 else 'exist'} in {folder}.",
            hint="Choose another folder, or replace them with --force.",
        )
    written: dict[Path, Path] = {}
    renamed: list[Path] = []
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            written[target] = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            written[target].write_text(text, encoding="utf-8")
        for target, temporary in written.items():
            temporary.replace(target)
            renamed.append(target)
    except OSError as error:
        if not existing:
            _remove(renamed)
        raise ConfigurationError(
            f"{error.filename or folder} cannot be written: {error.strerror}.", hint="Choose another folder."
        ) from error
    finally:
        _remove(written.values())


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _checked(flag: str, value: str, check: Callable[[str], str]) -> str:
    try:
        return check(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{flag}: {error.message}", hint=error.hint) from error


def _asked(check: Callable[[str], str]) -> Callable[[str], str]:
    """The check of a flag as that of an answer, which is asked for again where it is wrong."""

    def value(text: str) -> str:
        try:
            return check(text.strip())
        except ConfigurationError as error:
            raise typer.BadParameter(printable(str(error))) from error

    return value


def _printable(value: str) -> str:
    if not value or not value.isprintable() or value != value.strip():
        raise ConfigurationError(f"{value!r} is not a name: it must be printable, without spaces around it.")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ConfigurationError(f"{value!r} is not a name of a pipeline.", hint="Use letters, digits, - and _.")
    return value


def _folder(value: str) -> str:
    return str(parse_folder(_printable(value), field="folder"))


def _object(value: str) -> str:
    try:
        parse_object_name(_printable(value))
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from error
    return value


def _stage(value: str) -> str:
    if value:
        parse_name(_printable(value), field="stage")
    return value


def _schema(value: str) -> str:
    if len(parse_name(_printable(value), field="schema")) > 2:
        raise ConfigurationError(f"{value!r} is not a schema.", hint="Write it as DATABASE.SCHEMA.")
    return value


def _sync(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise ConfigurationError(f"{value!r} is not the id of a sync.", hint="It is the number in the sync's address.")
    return value


def _schedule(value: str) -> str:
    return parse_cron(value).text


def _runners(value: str) -> str:
    chosen = [each.strip() for each in value.split(",")]
    for each in chosen:
        if each not in RUNNERS:
            raise ConfigurationError(f"{each!r} runs nothing here.", hint=f"Choose from {', '.join(RUNNERS)}.")
    return ",".join(dict.fromkeys(chosen))


def _tables(objects: Sequence[str], schema: str) -> list[str]:
    """A table for each object, named after it; with more of its name where two would be the same."""
    parts = [parse_object_name(each) for each in objects]
    uses = Counter(_folded(each[-1]) for each in parts)
    names = [each[-1] if uses[_folded(each[-1])] == 1 else "_".join(each) for each in parts]
    found = [f"{schema}.{_quoted(each)}" for each in names]
    if len(set(found)) < len(found):
        raise ConfigurationError("Two objects would be loaded into one table.", hint="Export them by two pipelines.")
    return found


def _folded(name: str) -> str:
    return name.upper() if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else name


def _quoted(name: str) -> str:
    folded = _folded(name)
    return folded if re.fullmatch(r"[A-Z_][A-Z0-9_]*", folded) else '"' + folded.replace('"', '""') + '"'


def _absolute(folder: Path) -> Path:
    absolute = Path(os.path.abspath(folder))
    if not str(absolute).isprintable() or str(absolute).endswith("\\"):
        raise ConfigurationError(f"{str(absolute)!r} cannot be written into a crontab.", hint="Choose another folder.")
    return absolute


def _command() -> tuple[str, ...]:
    """What this runs as, by its whole path: cron and systemd search in few places."""
    script = Path(sys.executable).with_name("mz-orchestration")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "mz_orchestration.cli")


def _user() -> str | None:
    import pwd

    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:
        return None
    return user.pw_name if user.pw_uid != 0 and re.fullmatch(r"[a-z_][a-z0-9_-]*", user.pw_name) else None
