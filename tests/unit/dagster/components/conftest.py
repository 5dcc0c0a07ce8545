"""A project with one component in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing.utils import DefsFolderSandbox, create_defs_folder_sandbox

from mz_orchestration.dagster.components.export import MaterializeExportComponent

Load = Callable[..., tuple[Any, dg.Definitions]]


@pytest.fixture
def sandbox() -> Iterator[DefsFolderSandbox]:
    with create_defs_folder_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def load(sandbox: DefsFolderSandbox) -> Load:
    """Loads a component from its attributes as YAML; other keywords are files beside it."""

    def load(
        attributes: str, *, cls: type[dg.Component] = MaterializeExportComponent, folder: str = "nightly", **files: str
    ) -> tuple[Any, dg.Definitions]:
        path = sandbox.defs_folder_path / folder
        path.mkdir(parents=True, exist_ok=True)
        text = "\n".join(f"  {line}" for line in dedent(attributes).strip().splitlines())
        (path / "defs.yaml").write_text(f"type: {cls.__module__}.{cls.__qualname__}\nattributes:\n{text}\n")
        for name, content in files.items():
            (path / f"{name}.yaml").write_text(dedent(content))
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, defs):
            return component, defs

    return load


@pytest.fixture
def refusal(load: Load) -> Callable[..., str]:
    """What loading a component is refused with, without the folder that it lies in."""

    def refusal(attributes: str, **options: Any) -> str:
        with pytest.raises(Exception, match="Error while") as refused:
            load(attributes, **options)
        cause = refused.value.__cause__
        assert cause is not None
        return str(cause).replace(f"{_folder(str(cause))}/", "")

    return refusal


def _folder(text: str) -> str:
    """The folder of the first file that a text names."""
    start = text.find("/")
    return str(Path(text[start : text.find(".yaml", start)]).parent) if start >= 0 else "/"
