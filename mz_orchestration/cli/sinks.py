"""``mz-orchestration sinks``: how streaming sinks and sources are, live, explained, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mz_orchestration.cli.output import print_json, printable, reporting
from mz_orchestration.errors import ConfigurationError, MzOrchestrationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from mz_orchestration.sinks.facts import Kind, Look
    from mz_orchestration.sinks.policy import HealthPolicy
    from mz_orchestration.sinks.verdict import Health
    from mz_orchestration.sinks.watch import Judge, Step, Watch

app = typer.Typer(help="How streaming sinks and sources are: status and movement, and what to do.")

Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Names or patterns with *; the schema may be left out. Several times for several."),
]
Cluster = Annotated[list[str] | None, typer.Option("--cluster", help="Only those on this cluster.")]
Type = Annotated[list[str] | None, typer.Option("--type", help="Only those of this type, such as kafka.")]
Sources = Annotated[bool, typer.Option("--sources", help="Sources instead of sinks.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", help="File in which the next call finds what this one saw: without one, movement is not judged."
    ),
]
Policy = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="FIELD=SECONDS",
        help="How long what may last before it counts, such as starting_after=900. Several times for several.",
    ),
]
Every = Annotated[float, typer.Option("--every", help="Seconds between looks where no status has changed.", min=1)]
Subscribe = Annotated[
    bool, typer.Option("--subscribe/--poll", help="Look as soon as a status changes, by SUBSCRIBE, or only --every.")
]


@app.callback(invoke_without_command=True)
def list_sinks(
    context: typer.Context,
    only: Only = None,
    cluster: Cluster = None,
    type: Type = None,
    sources: Sources = False,
    policy: Policy = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Show how all sinks are, by one look."""
    if context.invoked_subcommand is not None:
        return
    with reporting(as_json=json):
        healths, look = _Asked(sources, policy, state, only, cluster, type).look()
        if json:
            print_json(_data(healths, look))
        elif not healths:
            typer.echo(f"no {_kind(sources)}s" + (" that fit" if only or cluster or type else ""))
        else:
            from mz_orchestration.cli.sinks_view import console, table

            console().print(table(healths.values()))


@app.command("check")
def check(
    only: Only = None,
    cluster: Cluster = None,
    type: Type = None,
    sources: Sources = False,
    policy: Policy = None,
    state: State = None,
) -> None:
    """One line and an exit code, as Nagios and its kin read them: 0 ok, 1 warning, 2 critical, 3 unknown."""
    from mz_orchestration.cli.sinks_view import nagios
    from mz_orchestration.sinks.verdict import Severity
    from mz_orchestration.sinks.watch import worst

    try:
        healths, _ = _Asked(sources, policy, state, only, cluster, type).look()
    except MzOrchestrationError as error:
        typer.echo(f"UNKNOWN - {printable(str(error))}".replace("\n", " ").replace("|", "/"))
        raise typer.Exit(int(Severity.UNKNOWN)) from error
    if not healths and (only or cluster or type):
        # What somebody has misspelled is not well.
        typer.echo(f"UNKNOWN - no {_kind(sources)}s fit --only, --cluster and --type")
        raise typer.Exit(int(Severity.UNKNOWN))
    found = worst(healths)
    severity = Severity.OK if found is None else found.severity
    typer.echo(nagios(list(healths.values()), severity, f"{_kind(sources)}s"))
    raise typer.Exit(int(severity))


@app.command("explain")
def explain(
    name: Annotated[str, typer.Argument(help="Its name; schema and database may be left out.")],
    sources: Sources = False,
    policy: Policy = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Say how one sink is, why, and what to do: its status, history, replicas and counters."""
    with reporting(as_json=json):
        healths, look = _Asked(sources, policy, state, [name]).look()
        if json:
            print_json(_data(healths, look))
            return
        if not healths:
            raise ConfigurationError(f"No {_kind(sources)} fits {name!r}.")
        from mz_orchestration.cli.sinks_view import explanation

        for health in sorted(healths.values(), key=lambda each: each.name):
            typer.echo(printable(health.name))
            before = ""
            for word, text in explanation(health, look.connectors.get(health.id)):
                typer.echo(f"  {'' if word == before else word:<10}  {printable(text)}")
                before = word


@app.command("watch")
def watch(
    only: Only = None,
    cluster: Cluster = None,
    type: Type = None,
    sources: Sources = False,
    policy: Policy = None,
    state: State = None,
    every: Every = 10.0,
    subscribe: Subscribe = True,
    debounce: Annotated[float, typer.Option(help="Seconds one has to be unwell before webhooks are told.", min=0)] = 30,
    recover_after: Annotated[float, typer.Option(help="Seconds it has to be well again.", min=0)] = 60,
    remind_every: Annotated[
        float | None,
        typer.Option(help="Seconds after which webhooks are told again of what goes on; else they are not."),
    ] = None,
    minimum: Annotated[Literal["warning", "critical"], typer.Option(help="What webhooks are told of.")] = "warning",
    webhooks: Annotated[
        Path | None,
        typer.Option(
            help="File with addresses of webhooks, one a line, which are told of problems and recoveries.",
            envvar="MZ_ORCHESTRATION_WEBHOOKS",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON for each change, instead of the table.")] = False,
) -> None:
    """Watch sinks until Ctrl-C: a live table on a terminal, else a line for each change."""
    with reporting(as_json=False):
        from mz_orchestration.cli.sinks_watch import follow
        from mz_orchestration.sinks.alerts import AlertPolicy
        from mz_orchestration.validation import validated

        alert_policy = validated(
            AlertPolicy, minimum=minimum, debounce=debounce, recover_after=recover_after, remind_every=remind_every
        )
        addresses = _addresses(webhooks)
        with _Asked(sources, policy, state, only, cluster, type).watch(every=every, subscribe=subscribe) as watching:
            follow(watching, alert_policy, addresses, state=state, as_json=json)


@app.command("metrics")
def metrics(
    only: Only = None,
    cluster: Cluster = None,
    type: Type = None,
    sources: Sources = False,
    policy: Policy = None,
    state: State = None,
    every: Every = 15.0,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT to answer at, under /metrics; where, by default, only this machine can ask.")
    ] = "127.0.0.1:9464",
    output: Annotated[
        Path | None, typer.Option(help="Write the text to this file once, for a textfile collector, and end.")
    ] = None,
) -> None:
    """Health as OpenMetrics: an endpoint until Ctrl-C, or a file."""
    with reporting(as_json=False):
        from mz_orchestration.sinks.openmetrics import exposition
        from mz_orchestration.sinks.state import write_whole

        if output is not None:
            healths, _ = _Asked(sources, policy, state, only, cluster, type).look()
            write_whole(output, exposition(healths), field="--output")
            return
        from mz_orchestration.cli.sinks_metrics import serve

        with _Asked(sources, policy, state, only, cluster, type).watch(every=every, subscribe=True) as watching:
            serve(watching, listen)


def _kind(sources: bool) -> Kind:
    return "source" if sources else "sink"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options that the commands share have said."""

    sources: bool
    limits: list[str] | None
    state: Path | None
    only: list[str] | None = None
    clusters: list[str] | None = None
    types: list[str] | None = None

    def look(self) -> tuple[Mapping[str, Health], Look]:
        """One look, judged with what the file remembers, which is then written anew."""
        from mz_orchestration.sinks.look import Looker
        from mz_orchestration.sinks.state import write_state

        policy = self._policy()
        judge, memory = self._judge(policy)
        with Looker(kind=_kind(self.sources), window=policy.flap_window) as looker:
            look = looker.look()
        step: Step = judge.judge(look)
        if self.state is not None:
            # What `watch` keeps there beside it stays.
            write_state(self.state, {**(memory or {}), **judge.memory})
        return step.healths, look

    def watch(self, *, every: float, subscribe: bool) -> Watch:
        """A watch that goes on with what the file remembers."""
        from mz_orchestration.sinks.watch import Watch

        policy = self._policy()
        judge, _ = self._judge(policy)
        return Watch(kind=_kind(self.sources), judge=judge, policy=policy, every=every, subscribe=subscribe)

    def _judge(self, policy: HealthPolicy) -> tuple[Judge, Any]:
        from mz_orchestration.sinks.selection import Selection
        from mz_orchestration.sinks.state import read_state
        from mz_orchestration.sinks.watch import Judge

        memory = None if self.state is None else read_state(self.state)
        selection = Selection(self.only or (), self.clusters or (), self.types or (), kind=_kind(self.sources))
        return Judge(policy, selection, memory), memory

    def _policy(self) -> HealthPolicy:
        from mz_orchestration.sinks.policy import health_policy

        values = {}
        for each in self.limits or ():
            name, equals, value = each.partition("=")
            if not equals:
                raise ConfigurationError(f"--policy: {each!r} has no '='.", hint="Write it as starting_after=900.")
            values[name.strip()] = value.strip()
        return health_policy(values)


def _data(healths: Mapping[str, Health], look: Look) -> dict[str, Any]:
    from dataclasses import asdict

    found = []
    for health in sorted(healths.values(), key=lambda each: (-each.severity, each.name)):
        facts = look.connectors.get(health.id)
        history = [] if facts is None else [{**asdict(event), "at": event.at.isoformat()} for event in facts.events]
        found.append({**health.to_json(), "history": history})
    return {"at": look.at.isoformat(), "connectors": found}


def _addresses(file: Path | None) -> list[SecretStr]:
    """Addresses come from a file: arguments can be seen by others on the machine."""
    if file is None:
        return []
    from pydantic import SecretStr

    from mz_orchestration.webhooks.address import webhook_address

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--webhooks: {file} cannot be read ({type(error).__name__}).") from error
    found = [text for each in lines if (text := each.strip()) and not text.startswith("#")]
    if not found:
        raise ConfigurationError(f"--webhooks: {file} names no address.", hint="Write one a line.")
    addresses = []
    for number, each in enumerate(found, 1):
        try:
            addresses.append(webhook_address(SecretStr(each)))
        except ValueError as error:
            raise ConfigurationError(f"--webhooks: address {number} of {file}: {error}.") from None
    return addresses
