"""What an export's asset does, kept in the asset's own metadata.

A step finds there what to export, a load what its export has to be like, and a person what an asset stands for. It
stays with the asset through whatever a code location does to it (other keys, groups, automation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, AssetsDefinition, AssetSpec
from pydantic import BaseModel, ConfigDict, ValidationError

from mz_orchestration.dagster.translator import ExportProps
from mz_orchestration.errors import ConfigurationError
from mz_orchestration.exports.policy import ExportPolicy
from mz_orchestration.exports.spec import ExportSpec
from mz_orchestration.pipelines.check_spec import ChecksSpec

if TYPE_CHECKING:
    from mz_orchestration.pipelines.planning import ExportNode

DEFINITION = "materialize/definition"


class ExportDefinition(BaseModel):
    """An export as an asset.

    Attributes:
        spec: What is exported, and where to.
        name: By which people know it.
        source: The object whose rows it holds; None for a query.
        policy: How it behaves where there is a choice.
        checks: What it has to be like.
        pipeline: The pipeline it is a part of.
        partition_folders: Whether each partition gets a folder below ``to``.
        allow_backfill: Whether partitions of the past are exported, too, although all exports are of now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: ExportSpec
    name: str
    source: str | None
    policy: ExportPolicy = ExportPolicy()
    checks: ChecksSpec = ChecksSpec()
    pipeline: str | None = None
    partition_folders: bool = False
    allow_backfill: bool = False

    @property
    def props(self) -> ExportProps:
        """What a translator is told of it."""
        return ExportProps(self.spec, self.name, self.source)

    def node(self) -> ExportNode:
        """The same in the core's terms."""
        from mz_orchestration.pipelines.planning import ExportNode

        return ExportNode(
            name=f"export {self.name}", needs=(), place=(), item=self.name, spec=self.spec, policy=self.policy,
            checks=self.checks, source=self.source,
        )  # fmt: skip

    def on(self, asset: AssetSpec) -> AssetSpec:
        """The asset, with this definition in its metadata."""
        return asset.merge_attributes(metadata={DEFINITION: self.model_dump(mode="json", exclude_defaults=True)})


def definition_of(asset: AssetSpec) -> ExportDefinition | None:
    """The definition that an asset's metadata holds; None if it is no export of ours.

    Raises:
        ConfigurationError: Another version of this package wrote it.
    """
    held: Any = asset.metadata.get(DEFINITION)
    if held is None:
        return None
    try:
        return ExportDefinition.model_validate(getattr(held, "value", held))
    except ValidationError as error:
        raise ConfigurationError(
            f"The metadata {DEFINITION} of {asset.key.to_user_string()} is not an export's: {error.error_count()} "
            "fields are wrong.",
            hint="Leave it as it was built: change attributes with merge_attributes.",
        ) from error


def required_definition(asset: AssetSpec) -> ExportDefinition:
    """The definition of an export's asset.

    Raises:
        ConfigurationError: There is none.
    """
    found = definition_of(asset)
    if found is None:
        raise ConfigurationError(
            f"{asset.key.to_user_string()} has lost its metadata {DEFINITION}, which says what to export.",
            hint="Add metadata with merge_attributes(metadata=...); replace_attributes drops what there was.",
        )
    return found


ExportAsset = AssetsDefinition | AssetSpec | AssetKey | Sequence[str] | str


def export_asset(export: ExportAsset) -> tuple[AssetKey, ExportDefinition | None]:
    """The key of an export's asset, and what is known of it where more than a key is given.

    Args:
        export: The asset, its spec or its key.

    Raises:
        ConfigurationError: It is none, or makes more assets than one.
    """
    if isinstance(export, AssetsDefinition):
        specs = list(export.specs)
        if len(specs) != 1:
            raise ConfigurationError(
                f"export: {export.node_def.name!r} makes {len(specs)} assets.",
                hint="Give the spec of the one to load: one of its .specs.",
            )
        export = specs[0]
    if isinstance(export, AssetSpec):
        return export.key, definition_of(export)
    # Keys are sequences, too.
    if isinstance(export, AssetKey):
        return export, None
    if isinstance(export, str):
        return AssetKey.from_user_string(export), None
    if isinstance(export, Sequence) and export and all(isinstance(part, str) for part in export):
        return AssetKey(export), None
    raise ConfigurationError(
        f"export: {export!r} is no asset.", hint="Give what build_export_asset returned, or a key."
    )


def upstream_keys(assets: Sequence[ExportAsset], field: str) -> list[AssetKey]:
    """The keys of assets that another one comes after.

    Args:
        assets: Each as for `export_asset`.
        field: The argument that names them.

    Raises:
        ConfigurationError: They are no list.
    """
    if isinstance(assets, str | AssetKey | AssetSpec | AssetsDefinition):
        raise ConfigurationError(f"{field}: {assets!r} is not a list of assets.", hint="Put it in brackets.")
    return [export_asset(each)[0] for each in assets]
