"""Lists, a page at a time."""

from __future__ import annotations

import asyncio

import pytest

from mz_orchestration.census.client import AsyncCensusClient, CensusClient
from mz_orchestration.errors import ConfigurationError, NotFoundError
from mz_orchestration.local.stack import LocalStack

from .conftest import Census, both_versions

pytestmark = both_versions


@pytest.fixture(scope="module")
def many(stack: LocalStack) -> list[str]:
    census = Census("v2", stack)
    return [census.new_sync(label=f"many {n}") for n in range(120)]


def test_syncs_of_all_pages(census: Census, many: list[str]) -> None:
    with CensusClient(census.config) as client:
        found = list(client.syncs())
        page = found[:100]
        assert len(page) == 100
    ids = [sync.id for sync in found]
    assert len(ids) == len(set(ids))
    assert set(many) <= set(ids)
    [one] = [sync for sync in found if sync.id == many[7]]
    assert (one.name, one.schedule, one.paused) == ("many 7", None, False)
    assert one.source_object
    assert one.destination_object


def test_on_an_event_loop(census: Census, many: list[str]) -> None:
    census.fault(many[0], working_seconds=20)

    async def main() -> tuple[str, list[str], list[str], list[str]]:
        async with AsyncCensusClient(census.config) as client:
            run = await client.trigger(many[0])
            syncs = [sync.id async for sync in client.syncs()]
            sources = [source.name or "" async for source in client.sources()]
            runs = [each.id async for each in client.runs(many[0])]
            assert (await client.run(run)).sync_id == many[0]
            assert (await client.sync(many[0])).name == "many 0"
            await client.cancel(run)
            return run, syncs, sources, runs

    run, syncs, sources, runs = asyncio.run(main())
    assert set(many) <= set(syncs)
    assert "Materialize" in sources
    assert run in runs


def test_the_group_is_needed_by_v2_only(census: Census) -> None:
    with CensusClient(census.config.model_copy(update={"group_id": None})) as client:
        if census.api == "v1":
            assert next(client.syncs(), None) is not None
        else:
            with pytest.raises(ConfigurationError, match="CENSUS_GROUP_ID"):
                next(client.sources(), None)


def test_another_group(census: Census) -> None:
    with CensusClient(census.config.model_copy(update={"group_id": "other"})) as client:
        if census.api == "v1":
            assert next(client.syncs(), None) is not None
        else:
            with pytest.raises(NotFoundError, match="other"):
                next(client.syncs(), None)
