"""Command lines for a person to type next: everything that matters said again, quoted for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mz_orchestration.runs.record import RunRecord

SIX_HOURS = 6 * 3600.0
# A manifest at that level says nothing of the rows in each file, which a load compares.
LISTED_ONLY = "listed only: how many rows each file holds is not known, so it cannot be loaded"
_PARALLEL, _CONSISTENCY, _FILE_SIZE = 4, "held", "256MB"


def export_command(
    specs: Sequence[Mapping[str, Any]],
    run_key: str,
    *,
    policy: Mapping[str, Any] | None = None,
    mode: str = _CONSISTENCY,
    max_parallel: int = _PARALLEL,
) -> str:
    """The command line that asks for the same run again.

    Args:
        specs: `ExportSpec` as JSON; they differ in their objects and casts only.
        run_key: The run's, or the group's.
        policy: The choices of `ExportPolicy`, or those of them that are not the default.
        mode: Of several objects, how they come to one timestamp.
        max_parallel: Of several objects, how many at a time.
    """
    spec = specs[0]
    objects = [each["object"] for each in specs]
    words = ["mz-orchestration", "export", *objects, "--to", spec["to"], "--connection", spec["connection"]]
    for name in ("query", "cluster"):
        if spec[name] is not None:
            words += [f"--{name}", spec[name]]
    if spec["format"] == "csv":
        csv = spec["csv"]
        words += ["--format", "csv", "--delimiter", csv["delimiter"], "--null", csv["null"], "--quote", csv["quote"]]
        words += ["--escape", csv["escape"]] if csv["escape"] is not None else []
        words += ["--header"] if csv["header"] else []
    words += _unless("--max-file-size", spec["max_file_size"], _FILE_SIZE)
    words += [] if spec["safe_types"] else ["--raw-types"]
    for each in specs:
        for column, type in each["casts"].items():
            words += ["--cast", f"{_cast_name(each['object'], column, alone=len(specs) == 1)}={type}"]
    words += _seconds("--timeout", spec["timeout"])
    words += _policy_words(policy or {})
    if len(specs) > 1:
        words += _unless("--consistency", mode, _CONSISTENCY)
        words += _unless("--max-parallel", max_parallel, _PARALLEL)
    return shlex.join([*words, "--run-key", run_key])


def load_command(manifest: str, stage: str, table: str, options: Mapping[str, Any] | None = None) -> str:
    """The command line that loads a manifest.

    Args:
        manifest: Its URL.
        stage: The stage.
        table: The target.
        options: The other fields of `LoadSpec` as JSON, those of them that are not the default.
    """
    words = ["mz-orchestration", "load", manifest, "--stage", stage, "--table", table]
    # Said in any case: a file with settings may name another.
    chosen = {"strategy": "swap", **options} if options is not None else {}
    for name, value in chosen.items():
        flag = "--" + name.replace("_", "-")
        if name == "keys":
            words += [word for key in value for word in ("--key", key)]
        elif isinstance(value, bool):
            words += [flag if value else flag.replace("--", "--no-", 1)]
        else:
            words += [flag, _number(value) if isinstance(value, float | int) else str(value)]
    return shlex.join(words)


def pipeline_command(file: str, run_key: str, only: Sequence[str] = ()) -> str:
    """The command line that does what is left of a run of a pipeline."""
    words = ["mz-orchestration", "pipeline", "run", file, *(word for name in only for word in ("--only", name))]
    return shlex.join([*words, "--run-key", run_key])


def show_command(run_key: str, at: str) -> str:
    """The command line that shows a run."""
    # Behind the two dashes, a key that begins with one is no option.
    return shlex.join(
        ["mz-orchestration", "runs", "show", "--at", at, *(["--"] if run_key.startswith("-") else []), run_key]
    )


def wait_command(
    path: str,
    *,
    deadline: float,
    start_deadline: float | None,
    poll: float,
    settle: float,
    abandoned_after: float,
    queue: str | None,
) -> str:
    """The command line that goes on waiting."""
    words = ["mz-orchestration", "wait", path, *_seconds("--deadline", deadline)]
    words += [] if start_deadline is None else ["--start-deadline", _number(start_deadline)]
    words += [*_seconds("--poll", poll, 5), *_seconds("--settle", settle, 5)]
    words += _seconds("--abandoned-after", abandoned_after)
    return shlex.join([*words, *(["--queue", queue] if queue else [])])


def next_command(record: RunRecord) -> str:
    """The command a person would type next; empty when everything is done that can be."""
    if record.manifest is None:
        return _again(record)
    if is_listed_only(record):
        return ""
    url = f"{record.manifest['path']}_manifest.json"
    waiting = [load for load in record.loads.values() if load.state != "succeeded"]
    if waiting:
        last = max(waiting, key=lambda load: load.started_at)
        return load_command(url, last.stage, last.target, last.spec)
    return "" if record.loads else load_command(url, "STAGE", "TABLE")


def is_listed_only(record: RunRecord) -> bool:
    """Whether the run has a manifest, but none that can be loaded."""
    return record.manifest is not None and record.manifest["verified"] == "listing"


def loadable_command(record: RunRecord) -> str:
    """The command that exports the same again, so that it can be loaded; a run keeps its manifest for good."""
    return _again(record, closer=True)


def closer_key(run_key: str) -> str:
    """A run key for exporting the same once more, verified more closely."""
    return f"{run_key}-footers"


def _again(record: RunRecord, *, closer: bool = False) -> str:
    group = record.group
    policy = {**record.policy, "verify": "footers"} if closer else record.policy
    key = record.run_key if group is None else group.run_key
    if closer:
        key = closer_key(key)
    if group is None:
        return export_command([record.spec], key, policy=policy)
    # At one timestamp again, or not at all.
    casts = {record.object: record.spec["casts"], **group.casts}
    specs = [{**record.spec, "object": name, "casts": casts.get(name, {})} for name in group.objects]
    return export_command(specs, key, policy=policy, mode=group.mode, max_parallel=group.max_parallel)


def _policy_words(policy: Mapping[str, Any]) -> list[str]:
    from mz_orchestration.exports.policy import ExportPolicy

    words: list[str] = []
    for name, usual in ExportPolicy().model_dump(mode="json").items():
        value = policy.get(name, usual)
        if value != usual:
            flag = "--" + name.replace("_", "-")
            words += [flag] if value is True else [flag, str(value)]
    return words


def _cast_name(object: str, column: str, *, alone: bool) -> str:
    """A column as ``--cast`` takes it; its own name must not be taken for one that names the object."""
    return column if alone and not column.startswith(f"{object}.") else f"{object}.{column}"


def _unless(flag: str, value: object, usual: object) -> list[str]:
    return [] if value == usual else [flag, str(value)]


def _seconds(flag: str, value: float, usual: float = SIX_HOURS) -> list[str]:
    return [] if value == usual else [flag, _number(value)]


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)
