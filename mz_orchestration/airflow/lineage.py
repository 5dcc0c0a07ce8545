"""What a job read and wrote, in OpenLineage's names: collected while the connections are at hand, told at the end.

A dataset is small JSON here, so that it can come back from a triggerer; OpenLineage's own classes are made of it only
where its provider is installed and asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from mz_orchestration.airflow.connections import Systems
    from mz_orchestration.exports.manifest import Manifest

Dataset = dict[str, Any]
Lineage = dict[str, list[Dataset]]

_PORT = 6875


def materialize_dataset(manifest: Manifest, query: str | None, systems: Systems) -> list[Dataset]:
    """The object that was exported; a query may read any, so it has none.

    :param manifest: of the export.
    :param query: what was exported in place of an object.
    :param systems: where it is.
    """
    from mz_orchestration.names import split_name

    config = systems.materialize
    if query or config is None:
        return []
    given = split_name(manifest.object, str.lower)
    name = ".".join((*(config.database or "materialize", "public")[: 3 - len(given)], *given))
    return [{"namespace": f"materialize://{config.host}:{config.port or _PORT}", "name": name}]


def files_dataset(manifest: Manifest) -> Dataset:
    """The folder of all runs of the export, which keeps its name from run to run."""
    from mz_orchestration.objectstore.location import parse_folder

    base = parse_folder(manifest.base, field="base")
    return {
        "namespace": f"{base.scheme}://{base.bucket}",
        "name": f"{base.key}{manifest.export}",
        "rows": manifest.rows,
        "bytes": manifest.size,
    }


def table_dataset(target: str, rows: int, systems: Systems) -> list[Dataset]:
    """The table that was loaded.

    :param target: its qualified, quoted name.
    :param rows: rows loaded.
    :param systems: where it is.
    """
    from mz_orchestration.snowflake.quoting import parse_name

    if systems.snowflake is None or not systems.snowflake.account:
        return []
    name = ".".join(parse_name(target, field="target"))
    return [{"namespace": f"snowflake://{systems.snowflake.account}", "name": name, "rows": rows}]


def operator_lineage(lineage: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """OpenLineage's own form of it.

    :param lineage: ``inputs`` and ``outputs``, each a list of datasets.
    """
    from airflow.providers.common.compat.openlineage import facet
    from airflow.providers.openlineage.extractors import OperatorLineage

    def statistics(dataset: Dataset) -> dict[str, Any]:
        if "rows" not in dataset:
            return {}
        told = facet.OutputStatisticsOutputDatasetFacet(rowCount=dataset["rows"], size=dataset.get("bytes"))
        return {"outputStatistics": told}

    return OperatorLineage(
        inputs=[facet.Dataset(namespace=each["namespace"], name=each["name"]) for each in lineage.get("inputs", [])],
        outputs=[
            facet.OutputDataset(namespace=each["namespace"], name=each["name"], outputFacets=statistics(each))
            for each in lineage.get("outputs", [])
        ],
    )
