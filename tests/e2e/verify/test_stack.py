"""Against a store that checks signatures and permissions."""

from __future__ import annotations

import pytest

from mz_orchestration.errors import CredentialsError
from mz_orchestration.exports.verify import verify_files
from mz_orchestration.local.stack import LocalStack
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.location import Location
from mz_orchestration.objectstore.ranges import TailReader

from .conftest import BUCKET, COLUMNS, name, parquet

FOLDER = Location(BUCKET, "tests/verify=1/")


@pytest.fixture
def store(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for variable, value in stack.environment.items():
        monkeypatch.setenv(variable, value)
    return ObjectStore()


def requests(stack: LocalStack) -> int:
    return len((stack.folder / "s3_requests.jsonl").read_text().splitlines())


def test_signatures_are_accepted(stack: LocalStack, store: ObjectStore) -> None:
    for number in range(12):
        store.put(FOLDER.child(name(number)), parquet(number))
    files = store.list_objects(FOLDER)
    before = requests(stack)
    assert verify_files(store, FOLDER, files, COLUMNS, None).rows == tuple(range(12))
    # A refusal would have led to a second request, by boto3.
    assert requests(stack) - before == 12
    store.put(FOLDER.child(name(3)), parquet(3, compression="none"))
    verified = verify_files(store, FOLDER, files, COLUMNS, None)
    assert verified.rows == tuple(range(12))
    assert name(3) in verified.warnings[0]


def test_a_key_that_turns_bad(store: ObjectStore) -> None:
    at = FOLDER.child(name(0))
    store.put(at, parquet(5))
    (file,) = (item for item in store.list_objects(FOLDER) if item.key == at.key)
    with TailReader(store, FOLDER) as tails:
        tails.read(file, 8)
        store.client._request_signer._credentials.secret_key = "wrong"  # type: ignore[attr-defined]
        with pytest.raises(CredentialsError, match="has a secret that does not match"):
            tails.read(file, 8)
