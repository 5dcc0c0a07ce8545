"""From the file to what is done: defaults filled in, names looked up, one node for each thing that runs.

Everything here is a function of the spec. Every refusal carries the place of the field it is about, so that a reader of
files can point at its line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from mz_orchestration.census.spec import SyncSpec
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.group_check import check_group
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.pipelines.check_spec import ChecksSpec
from mz_orchestration.pipelines.spec import ExportItem, LoadItem, PipelineSpec, RetentionSpec, SyncItem
from mz_orchestration.snowflake.spec import LoadSpec

# Stands in a load's spec until the export has written its manifest.
UNKNOWN_MANIFEST = "s3://bucket/known-once-exported/_manifest.json"
_POLICY = frozenset(ExportPolicy.model_fields)

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that runs.

    Attributes:
        name: Unique in the pipeline: its kind and what it is about.
        needs: Names of the nodes that must have succeeded before.
        place: Where it stands in the file.
    """

    name: str
    needs: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class ExportNode(Node):
    """An export.

    Attributes:
        item: By which name loads, syncs and people know it.
        source: The object whose rows it holds; None for a query.
        group: Name of the node of its consistency group, which is what runs; None where it runs by itself.
    """

    item: str
    spec: ExportSpec
    policy: ExportPolicy
    checks: ChecksSpec
    source: str | None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class GroupNode(Node):
    """Exports of one logical timestamp."""

    item: str
    members: tuple[ExportNode, ...]
    max_parallel: int


@dataclass(frozen=True, slots=True)
class CheckNode(Node):
    """The checks of an export."""

    export: ExportNode


@dataclass(frozen=True, slots=True)
class LoadNode(Node):
    """A load of an export; its manifest is known once that has run."""

    item: str
    export: ExportNode
    spec: LoadSpec

    def of(self, manifest: str) -> LoadSpec:
        """The load of a manifest."""
        return self.spec.model_copy(update={"manifest": manifest})


@dataclass(frozen=True, slots=True)
class SyncNode(Node):
    """A run of a Census sync."""

    item: str
    spec: SyncSpec


@dataclass(frozen=True, slots=True)
class RetentionNode(Node):
    """The end of what earlier runs exported."""

    exports: tuple[ExportNode, ...]
    spec: RetentionSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pipeline does.

    Attributes:
        spec: As it was written.
        exports: Every export, also those that run in a group.
        nodes: What runs, each behind all that it needs.
    """

    spec: PipelineSpec
    exports: tuple[ExportNode, ...]
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """The node of a name."""
        return next(node for node in self.nodes if node.name == name)


def plan_pipeline(spec: PipelineSpec) -> Plan:
    """Fill in the defaults, look up the names, and say what needs what.

    Raises:
        ValidationError: pydantic's, with the place of every field that is wrong.
    """
    findings: list[InitErrorDetails] = []
    exports = _exports(spec, findings)
    checks = [
        CheckNode(f"check {e.item}", (e.group or e.name,), (*e.place, "checks"), e) for e in exports if _checked(e)
    ]
    # What a load or a sync has to wait for, by the name it gives.
    behind = {export.item: export.group or export.name for export in exports}
    behind |= {check.export.item: check.name for check in checks}
    loads = _loads(spec, exports, behind, findings)
    loaded = {item.name or item.table: f"load {item.name or item.table}" for item in spec.loads}
    declared = {_export_name(item): "" for item in spec.exports}
    syncs = _syncs(spec, {**declared, **behind, **loaded}, findings)
    items: list[ExportNode | LoadNode | SyncNode] = [*exports, *loads, *syncs]
    findings += _repeated(items)
    if not spec.exports and not spec.syncs and not findings:
        findings.append(_finding((), "there is nothing to do: give exports or syncs"))
    groups = _groups(spec, exports, findings)
    if findings:
        raise ValidationError.from_exception_data("pipeline", findings)
    alone = [export for export in exports if export.group is None]
    first = sorted([*alone, *groups], key=lambda node: node.place)
    nodes: list[Node] = [*first, *checks, *loads, *syncs]
    if spec.retention is not None:
        everything = tuple(node.name for node in nodes)
        nodes.append(RetentionNode("retention", everything, ("retention",), tuple(exports), spec.retention))
    return Plan(spec, tuple(exports), tuple(nodes))


def select(plan: Plan, only: Sequence[str]) -> tuple[Node, ...]:
    """The nodes that are asked for by name, with all that they need; all where none is.

    Retention is for whole runs: it is left out of a selection unless it is asked for itself.

    Args:
        plan: The plan.
        only: Names of exports, loads, syncs, groups or nodes.

    Raises:
        ConfigurationError: There is nothing of that name.
    """
    if not only:
        return plan.nodes
    named = _by_any_name(plan)
    wanted: set[str] = set()
    for name in only:
        if name not in named:
            raise ConfigurationError(
                f"--only: {_unknown(name, 'part', named)}.", hint="Name exports, loads or syncs of the pipeline."
            )
        pending = [named[name]]
        while pending:
            node = pending.pop()
            if node not in wanted:
                wanted.add(node)
                pending += plan.node(node).needs
    return tuple(node for node in plan.nodes if node.name in wanted)


def _by_any_name(plan: Plan) -> dict[str, str]:
    named: dict[str, str] = {}
    for node in plan.nodes:
        named[node.name] = node.name
        if isinstance(node, ExportNode | GroupNode | LoadNode | SyncNode):
            named[node.item] = node.name
    for export in plan.exports:
        # With its checks, which nobody would leave out on purpose.
        checked = f"check {export.item}"
        named[export.item] = named[export.name] = checked if checked in named else export.group or export.name
    return named


def _checked(export: ExportNode) -> bool:
    return export.checks != ChecksSpec()


def _export_name(item: ExportItem) -> str:
    return item.name or item.object or ""


def _exports(spec: PipelineSpec, findings: list[InitErrorDetails]) -> list[ExportNode]:
    found = []
    for i, item in enumerate(spec.exports):
        place: Place = ("exports", i)
        fields, places = _with_defaults(item, spec, place)
        if (item.object is None) == (item.query is None):
            text = "give either object or query" if item.object else "object is missing; or give a query and a name"
            findings.append(_finding(place, text))
            continue
        if item.query is not None and item.name is None:
            findings.append(_finding((*place, "name"), "a query needs a name"))
            continue
        if item.query is not None and item.where is not None:
            findings.append(_finding((*place, "where"), "where belongs to an object; write it into the query"))
            continue
        query = item.query
        if item.object is not None and item.where is not None:
            try:
                query = _filtered(item.object, item.where)
            except ValueError as error:
                findings.append(_finding((*place, "where"), str(error)))
                continue
        # Of an object that is exported whole, the manifest tells the object's own name.
        name = item.object if query is None and item.object else _as_object(_export_name(item))
        fields |= {"object": name, "query": query}
        places |= {"object": (*place, "object" if item.object else "name"), "query": (*place, "query")}
        checks = _checks(item, spec)
        if item.query is not None and checks.max_lag is not None:
            text = "max_lag asks how far an object lags, and this is a query; set max_lag: null, or export a view of it"
            findings.append(_finding((*place, "checks"), text))
            continue
        policy = {key: fields.pop(key) for key in list(fields) if key in _POLICY}
        made = _made(ExportSpec, fields, places, place, findings)
        if made is not None:
            group = None if item.consistency_group is None else f"group {item.consistency_group}"
            node = ExportNode(
                f"export {_export_name(item)}", (), place, _export_name(item), made, ExportPolicy(**policy), checks,
                item.object, group,
            )  # fmt: skip
            found.append(node)
    return found


def _as_object(name: str) -> str:
    """A name of people's choice as one of an object, which is what an export goes by."""
    try:
        parse_object_name(name)
    except ValueError:
        from psycopg import sql

        return sql.Identifier(name).as_string()
    return name


def _filtered(object: str, where: str) -> str:
    """A query for the rows of an object that meet a condition.

    Raises:
        ValueError: One of the two is not what it should be.
    """
    from mz_orchestration.materialize.query import refuse_unsafe_query

    # As a column, it must stand by itself: a condition cannot close a parenthesis that it did not open.
    refuse_unsafe_query(f"SELECT {where}")
    from psycopg import sql

    name = sql.Identifier(*parse_object_name(object))
    # The line break ends a comment that the condition may end with.
    return sql.SQL("SELECT * FROM {} WHERE ({}\n)").format(name, sql.SQL(where)).as_string()


def _checks(item: ExportItem, spec: PipelineSpec) -> ChecksSpec:
    if "checks" in item.model_fields_set and item.checks is None:
        return ChecksSpec()
    general = spec.defaults.checks.model_dump(exclude_unset=True) if spec.defaults.checks else {}
    own = item.checks.model_dump(exclude_unset=True) if item.checks else {}
    return ChecksSpec.model_construct(**{**general, **own})


def _with_defaults(item: ExportItem, spec: PipelineSpec, place: Place) -> tuple[dict[str, Any], dict[str, Place]]:
    """The fields of an export that are set, here or by default, and where each stands."""
    apart = {"name", "object", "query", "where", "consistency_group", "checks"}
    fields, places = {}, {}
    for name in ExportItem.model_fields:
        if name in apart:
            continue
        own, general = getattr(item, name), getattr(spec.defaults, name, None)
        if own is not None:
            fields[name], places[name] = own, (*place, name)
        elif general is not None and name not in item.model_fields_set:
            fields[name], places[name] = general, ("defaults", name)
    return fields, places


def _groups(spec: PipelineSpec, exports: list[ExportNode], findings: list[InitErrorDetails]) -> list[GroupNode]:
    found = []
    for name in dict.fromkeys(export.group for export in exports if export.group):
        members = tuple(export for export in exports if export.group == name)
        try:
            check_group([member.spec for member in members], "held", spec.defaults.concurrency)
        except ConfigurationError as error:
            findings.append(_finding((*members[-1].place, "consistency_group"), error.message))
            continue
        apart = [member for member in members if member.policy != members[0].policy]
        if apart:
            text = "exports of one group are verified and counted alike; set that in defaults"
            findings.append(_finding(apart[0].place, text))
            continue
        place = members[0].place
        found.append(GroupNode(name, (), place, name.removeprefix("group "), members, spec.defaults.concurrency))
    return found


def _loads(
    spec: PipelineSpec, exports: list[ExportNode], behind: Mapping[str, str], findings: list[InitErrorDetails]
) -> list[LoadNode]:
    by_item = {export.item: export for export in exports}
    declared = {_export_name(item) for item in spec.exports}
    found = []
    for i, item in enumerate(spec.loads):
        place: Place = ("loads", i)
        if item.export not in declared:
            findings.append(_finding((*place, "export"), _unknown(item.export, "export", declared)))
            continue
        fields, places = _own_fields(item, place, {"name", "export"})
        if item.stage is None and spec.defaults.stage is not None:
            fields["stage"], places["stage"] = spec.defaults.stage, ("defaults", "stage")
        made = _made(LoadSpec, {**fields, "manifest": UNKNOWN_MANIFEST}, places, place, findings)
        export = by_item.get(item.export)
        if made is not None and export is not None:
            name = item.name or item.table
            found.append(LoadNode(f"load {name}", (behind[item.export],), place, name, export, made))
    return found


def _syncs(spec: PipelineSpec, behind: Mapping[str, str], findings: list[InitErrorDetails]) -> list[SyncNode]:
    found = []
    for i, item in enumerate(spec.syncs):
        place: Place = ("syncs", i)
        for j, name in enumerate(item.after):
            if name not in behind:
                findings.append(_finding((*place, "after", j), _unknown(name, "export or load", behind)))
        fields, places = _own_fields(item, place, {"name", "after"})
        made = _made(SyncSpec, fields, places, place, findings)
        if made is not None and all(name in behind for name in item.after):
            name = item.name or f"sync {item.sync}"
            needs = tuple(dict.fromkeys(behind[after] for after in item.after))
            found.append(SyncNode(name if name.startswith("sync ") else f"sync {name}", needs, place, name, made))
    return found


def _own_fields(item: LoadItem | SyncItem, place: Place, apart: set[str]) -> tuple[dict[str, Any], dict[str, Place]]:
    fields = {name: getattr(item, name) for name in item.model_fields_set - apart}
    fields = {name: value for name, value in fields.items() if value is not None}
    return fields, {name: (*place, name) for name in fields}


def _made(
    model: type[Model],
    fields: dict[str, Any],
    places: Mapping[str, Place],
    place: Place,
    findings: list[InitErrorDetails],
) -> Model | None:
    """A model of fields; what is wrong with them is added to the findings at the places where they stand."""
    try:
        return model(**fields)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False):
            first, *rest = item["loc"] or (None,)
            at = (*places.get(str(first), (*place, str(first))), *rest) if first is not None else place
            findings.append(_finding(at, item["msg"].removeprefix("Value error, "), shown=item))
    except ConfigurationError as error:
        # Names and places are read by the rooms they belong to, which say the field first.
        name, _, text = error.message.partition(": ")
        findings.append(_finding(places.get(name, place), f"{text} {error.hint}" if name in places else str(error)))
    return None


def _repeated(items: Iterable[ExportNode | LoadNode | SyncNode]) -> list[InitErrorDetails]:
    seen: dict[str, Node] = {}
    found = []
    for item in items:
        if item.item in seen or item.name in seen:
            field = {"exports": "object", "loads": "table", "syncs": "sync"}[str(item.place[0])]
            text = f"{item.item!r} is the name of another part already; give this one a name of its own"
            found.append(_finding((*item.place, field), text))
        seen.setdefault(item.item, item)
        # What runs goes by this one.
        seen.setdefault(item.name, item)
    return found


def _finding(place: Place, text: str, shown: Any = None) -> InitErrorDetails:
    # Braces in the text are pydantic's own for values to fill in.
    kind = "missing" if shown is not None and shown["type"] == "missing" else "pipeline"
    error = PydanticCustomError(kind, "{text}", {"text": text})
    return InitErrorDetails(type=error, loc=place, input=None)


def _unknown(name: str, what: str, known: Iterable[str]) -> str:
    names = [each for each in known if each]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"there is no {what} {name!r}; did you mean {close[0]!r}?"
    return f"there is no {what} {name!r}; there are {', '.join(names)}" if names else f"there is no {what} {name!r}"
