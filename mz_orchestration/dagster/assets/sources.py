"""External assets for the objects of Materialize: made and kept up to date there, upstream of the exports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from dagster import AssetSpec

from mz_orchestration.dagster.assets.attributes import AssetAttributes, with_attributes
from mz_orchestration.dagster.keys import refuse_collisions
from mz_orchestration.dagster.translator import DagsterMaterializeTranslator, ObjectProps
from mz_orchestration.errors import ConfigurationError


def build_source_assets(
    objects: Iterable[str | ObjectProps],
    *,
    translator: DagsterMaterializeTranslator | None = None,
    **attributes: Unpack[AssetAttributes],
) -> list[AssetSpec]:
    """Assets for objects that Materialize keeps, for a code location to show what its exports read.

    Args:
        objects: Their names as in SQL, or more of what is known of them.
        translator: Says what the assets are like; the one that the exports have.
        **attributes: Of all these assets, over the translator's, except for ``key``.

    Raises:
        ConfigurationError: Two objects would be one asset, or a name is none.
    """
    if isinstance(objects, str):
        raise ConfigurationError(f"objects: {objects!r} is not a list of names.", hint="Put it in brackets.")
    translator = translator or DagsterMaterializeTranslator()
    props = [ObjectProps(each) if isinstance(each, str) else each for each in objects]
    try:
        specs = [with_attributes(translator.get_asset_spec(each), attributes) for each in props]
    except ValueError as error:
        raise ConfigurationError(f"objects: {error}.") from error
    refuse_collisions(specs, [each.object for each in props])
    return specs
