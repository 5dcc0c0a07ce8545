"""How objects, exports, loads and syncs become assets: one method to override, for keys, groups and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster import AssetKey, AssetSpec

from mz_orchestration.dagster.keys import asset_key
from mz_orchestration.materialize.names import parse_object_name
from mz_orchestration.snowflake.quoting import parse_name

if TYPE_CHECKING:
    from mz_orchestration.census.spec import SyncSpec
    from mz_orchestration.exports.spec import ExportSpec
    from mz_orchestration.snowflake.spec import LoadSpec


@dataclass(frozen=True)
class ObjectProps:
    """An object of Materialize, which is made and kept up to date there.

    Attributes:
        object: Its name as in SQL, up to ``database.schema.name``.
        kind: Such as ``table``, ``source``, ``view``, ``materialized-view``; empty if nobody has asked.
        cluster: Cluster that maintains it, where it is known.
        comment: What ``COMMENT ON`` says of it.
        columns: Their names and types in SQL, where they are known.
    """

    object: str
    kind: str = ""
    cluster: str | None = None
    comment: str = ""
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ExportProps:
    """An export.

    Attributes:
        name: By which people know it; the object's name where it is exported whole.
        source: The object whose rows it holds; None for a query.
    """

    spec: ExportSpec
    name: str
    source: str | None

    @classmethod
    def of(cls, spec: ExportSpec) -> ExportProps:
        """Those of an export that goes by its object's name."""
        return cls(spec, spec.object, None if spec.query is not None else spec.object)


@dataclass(frozen=True)
class LoadProps:
    """A load into Snowflake.

    Attributes:
        spec: Its ``manifest`` says nothing: that is known once the export has run.
        name: By which people know it; the table's name if it has no other.
        export: Key of the asset that is loaded.
    """

    spec: LoadSpec
    name: str
    export: AssetKey


@dataclass(frozen=True)
class SyncProps:
    """A run of a Census sync.

    Attributes:
        name: By which people know it.
        after: Keys of the assets it reads.
    """

    spec: SyncSpec
    name: str
    after: Sequence[AssetKey] = ()


@dataclass(frozen=True)
class RetentionProps:
    """The end of what earlier runs of a pipeline have exported.

    Attributes:
        pipeline: Its name.
        after: Keys of all its other assets.
    """

    pipeline: str
    after: Sequence[AssetKey] = ()


Props = ObjectProps | ExportProps | LoadProps | SyncProps | RetentionProps


class DagsterMaterializeTranslator:
    """Says what asset stands for an object, an export, a load or a sync.

    Override `get_asset_spec`, start from what it returns, and change what you like:

    .. code-block:: python

        class Ours(DagsterMaterializeTranslator):
            def get_asset_spec(self, props):
                return super().get_asset_spec(props).replace_attributes(owners=["team:data"])

    Whatever refers to an asset (a load to its export, an export to the object it reads) asks for its key here.
    """

    def get_asset_spec(self, props: Props) -> AssetSpec:
        """The asset: its key, what it depends on, its description and kinds.

        Objects are ``materialize/<schema>/<object>``, exports ``exports/<schema>/<object>`` or ``exports/<name>``,
        loads ``snowflake/<database>/<schema>/<table>`` and syncs ``census/<id>``: in lower case, and with ``_`` for
        what a part of a key cannot hold.

        Args:
            props: What it stands for.
        """
        match props:
            case ObjectProps():
                return self._object(props)
            case ExportProps():
                return self._export(props)
            case LoadProps():
                return AssetSpec(
                    asset_key("snowflake", parse_name(props.spec.table, field="table")),
                    deps=[props.export],
                    description=f"{props.export.to_user_string()} in {props.spec.table} by {props.spec.strategy}.",
                    kinds={"snowflake", "table"},
                )
            case SyncProps():
                return AssetSpec(
                    asset_key("census", (props.spec.sync,)),
                    deps=props.after,
                    description="A run of the sync.",
                    kinds={"census"},
                )
            case RetentionProps():
                return AssetSpec(
                    asset_key("pipelines", (props.pipeline, "retention")),
                    deps=props.after,
                    description="Deletes export files of earlier runs.",
                    kinds={"s3"},
                )

    def _object(self, props: ObjectProps) -> AssetSpec:
        from mz_orchestration.dagster.metadata import object_metadata

        kinds = {"materialize", *([props.kind.replace("-", "")] if props.kind else [])}
        return AssetSpec(
            asset_key("materialize", parse_object_name(props.object)),
            description=props.comment or f"{props.object} in Materialize.",
            kinds=kinds,
            metadata=object_metadata(props),
        )

    def _export(self, props: ExportProps) -> AssetSpec:
        spec = props.spec
        named = props.name != (props.source or spec.object)
        source = [] if props.source is None else [self.get_asset_spec(ObjectProps(props.source)).key]
        return AssetSpec(
            asset_key("exports", (props.name,) if named else parse_object_name(props.source or spec.object)),
            deps=source,
            description=f"{props.name} as {spec.format} files below {spec.to}, verified.",
            kinds={"materialize", "s3", spec.format},
            code_version=spec.fingerprint()[:16],
        )
