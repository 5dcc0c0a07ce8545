from __future__ import annotations

import pytest

import mz_orchestration


@pytest.mark.parametrize("name", mz_orchestration.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(mz_orchestration, name) is not None


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mz_orchestration.nothing
