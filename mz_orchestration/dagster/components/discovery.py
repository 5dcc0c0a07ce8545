"""The component that asks Materialize what there is: the objects of schemas or clusters, and, if wanted, their exports.

What was found is state, which Dagster keeps and refreshes; loading definitions contacts nothing. Without state there is
nothing to load, and an empty code location would look like one whose assets somebody has removed: that is an error,
which names the command.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagster import AssetSpec, ComponentLoadContext, Definitions
from dagster.components import DefsStateConfig, DefsStateConfigArgs, StateBackedComponent
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from mz_orchestration.dagster.assets.sources import build_source_assets
from mz_orchestration.dagster.components.base import PlanComponent
from mz_orchestration.dagster.components.export import default_name
from mz_orchestration.dagster.components.translation import ComponentTranslator
from mz_orchestration.dagster.translator import ObjectProps
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.pipelines.spec import Defaults
from mz_orchestration.snowflake.spec import Strategy

if TYPE_CHECKING:
    from mz_orchestration.dagster.components.reading import Attribute
    from mz_orchestration.pipelines.planning import Plan

Kind = Literal["table", "source", "view", "materialized-view"]
_REFRESH = "dg utils refresh-defs-state"


class DiscoveredLoad(BaseModel):
    """Where the exports of all objects are loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    into: str = Field(description="database.schema; each table has the name of its object.")
    strategy: Literal["swap", "overwrite", "transaction"] = Field(
        default="swap", description="How a table gets the rows: swap (default), overwrite or transaction."
    )


class Found(BaseModel):
    """State: the objects that were found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    objects: tuple[dict[str, Any], ...] = ()


class MaterializeDiscoveryComponent(StateBackedComponent, PlanComponent):
    """The objects of schemas or clusters in Materialize as assets, and, if wanted, an export and a load of each.

    What there is is asked when the state is refreshed: by dagster dev and dg dev when they start, by
    `dg utils refresh-defs-state` where an image is built. Loading definitions contacts nothing.
    """

    name: str | None = Field(
        default=None, description="Names the group of the exports. The folder of this defs.yaml by default."
    )
    schemas: tuple[str, ...] = Field(default=(), description="Whose objects: [database.]schema. All, if left out.")
    clusters: tuple[str, ...] = Field(
        default=(), description="Whose objects: those that these clusters maintain. All, if left out."
    )
    kinds: tuple[Kind, ...] = Field(
        default=("materialized-view", "table", "source"),
        description="Which kinds: table, source, view, materialized-view.",
    )
    include: tuple[str, ...] = Field(
        default=("*",), description="Which of them, by name: patterns such as shop.* or *_totals."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Which of them not, likewise.")
    export: Defaults | None = Field(
        default=None, description="Export each of them: 'to', 'connection' and what else goes for all."
    )
    load_into: DiscoveredLoad | None = Field(
        default=None, description="Load each export, for which export has a stage."
    )
    defs_state: DefsStateConfigArgs = Field(
        default_factory=DefsStateConfigArgs.local_filesystem, description="Where Dagster keeps what was found."
    )

    _found: tuple[ObjectProps, ...] = PrivateAttr(default=())

    @classmethod
    def attributes(cls) -> Mapping[str, Attribute]:
        """How the fields stand in YAML."""
        from mz_orchestration.dagster.components import reading

        return {
            "name": reading.plain(str | None),
            "schemas": reading.plain(list[str]),
            "clusters": reading.plain(list[str]),
            "kinds": reading.plain(list[Kind]),
            "include": reading.plain(list[str]),
            "exclude": reading.plain(list[str]),
            "export": reading.of_model(Defaults),
            "load_into": reading.of_model(DiscoveredLoad),
            "defs_state": reading.of_model(DefsStateConfigArgs),
            **super().attributes(),
        }

    @property
    def defs_state_config(self) -> DefsStateConfig:
        """Where the state is; by default under the names of the Materialize and of what is asked of it."""
        config = self._materialize().config()
        # What is left out is libpq's to find.
        host = config.host or os.environ.get("PGHOST", "localhost")
        port = config.port or os.environ.get("PGPORT", "6875")
        where = f"{host}:{port}/{config.database or os.environ.get('PGDATABASE', 'materialize')}"
        what = ",".join((*self.schemas, *(f"cluster={name}" for name in self.clusters))) or "all"
        return DefsStateConfig.from_args(self.defs_state, default_key=f"{type(self).__name__}[{where}/{what}]")

    def write_state_to_path(self, state_path: Path) -> None:
        """Ask Materialize what there is.

        Args:
            state_path: The file to write; as it was, if Materialize does not answer.

        Raises:
            NotFoundError: There is no such schema or cluster.
            MzOrchestrationError: Materialize cannot be asked.
        """
        from mz_orchestration.materialize.catalog import find_objects
        from mz_orchestration.materialize.session import Session

        with Session(self._materialize().config(), application_name="mz-orchestration discovery") as session:
            found = find_objects(session, schemas=self.schemas, clusters=self.clusters, kinds=self.kinds)
        state = Found(objects=tuple(asdict(each) for each in found))
        state_path.parent.mkdir(parents=True, exist_ok=True)
        state_path.write_text(state.model_dump_json())

    def build_defs_from_state(self, context: ComponentLoadContext, state_path: Path | None) -> Definitions:
        """The objects that were found, their exports and loads; contacts nothing.

        Args:
            context: Where the component stands.
            state_path: What `write_state_to_path` wrote.

        Raises:
            ConfigurationError: Nothing has been asked yet, or another version wrote the state.
        """
        if state_path is None:
            raise self._source.refused(
                [self._source.finding((), "Materialize has not been asked yet what there is")],
                hint=f"Run `{_REFRESH}`, once for each image that is built; dagster dev and dg dev do it themselves.",
            )
        self._found = self._read(state_path)
        translator = ComponentTranslator(self)
        sources: Sequence[AssetSpec] = build_source_assets(self._found, translator=translator)
        found = Definitions(assets=sources)
        if self.export is None:
            return found
        return Definitions.merge(found, PlanComponent.build_defs(self, context)) if self._found else found

    def plan(self, context: ComponentLoadContext) -> Plan:
        """An export of each object, and its load.

        Args:
            context: Where the component stands.

        Raises:
            ConfigurationError: It cannot be done, with the file and line.
        """
        from mz_orchestration.pipelines.planning import plan_pipeline
        from mz_orchestration.pipelines.spec import PipelineSpec

        names = [props.object for props in self._found]
        parts: dict[str, Any] = {
            "name": self.name or default_name(context),
            "defaults": self.export,
            "exports": [{"object": name} for name in names],
            "loads": [self._load(name, self.load_into) for name in names] if self.load_into else [],
        }
        try:
            return plan_pipeline(PipelineSpec.model_validate(parts))
        except ValidationError as error:
            raise self._source.refused(self._source.findings(error)) from None

    def _load(self, name: str, load: DiscoveredLoad) -> dict[str, Any]:
        from mz_orchestration.materialize.names import parse_object_name

        last = parse_object_name(name)[-1]
        table = last if re.fullmatch(r"[a-z_][a-z0-9_]*", last) else '"' + last.replace('"', '""') + '"'
        return {"export": name, "table": f"{load.into}.{table}", "strategy": Strategy(load.strategy)}

    def _materialize(self) -> Any:
        from mz_orchestration.dagster.resources import MaterializeResource

        # What runs while code is loaded has no resources of the project.
        return self._resources().resolved("materialize") or MaterializeResource()

    def _read(self, state_path: Path) -> tuple[ObjectProps, ...]:
        try:
            found = Found.model_validate(json.loads(state_path.read_text()))
            every = [
                ObjectProps(**{**each, "columns": tuple((str(name), str(kind)) for name, kind in each["columns"])})
                for each in found.objects
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"The state in {state_path} is none of this component's.", hint=f"Refresh it with `{_REFRESH}`."
            ) from error
        return tuple(each for each in every if self._wanted(each.object))

    def _wanted(self, name: str) -> bool:
        def matches(patterns: Sequence[str]) -> bool:
            return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

        return matches(self.include) and not matches(self.exclude)
