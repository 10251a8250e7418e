"""The example as a newcomer runs it: no credential, no model but the demo model, the shop beside it; each shape."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest
from support.public_api import PublicApi
from support.systems import READY_S, SHOP_WORKFLOW, RunningSystem, Systems, one_process, services

from signalbox_local import LocalSystem

SHAPES = ("one_process", "services")


def start_example(stack: ExitStack, shape: str, directory: Path) -> RunningSystem:
    """A system as `make run` or `make services` starts it, with the example published by its command."""
    env = {"SIGNALBOX_OLLAMA_URL": ""}
    local: LocalSystem
    if shape == "one_process":
        local = one_process(stack, directory, env)
    else:
        local = services(stack, directory, env, replicas=2)
    local.start(READY_S)
    local.run_cli("publish", str(SHOP_WORKFLOW), "--url", local.edge_url)
    return RunningSystem(shape, local.edge_url, local=local, traces=directory / "traces")


@pytest.fixture(scope="session")
def examples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    """Starts and ends the example in each shape."""
    directory = tmp_path_factory.mktemp("examples")
    supply = Systems(
        {
            shape: lambda stack, shape=shape: start_example(
                stack, shape, Path(mkdtemp(prefix=f"{shape}-", dir=directory))
            )
            for shape in SHAPES
        }
    )
    yield supply
    supply.stop()


@pytest.fixture(scope="session", params=SHAPES)
def example(request: pytest.FixtureRequest, examples: Systems) -> Iterator[RunningSystem]:
    """The running example; each shape in turn."""
    yield examples.get(request.param)
    examples.release(request.param)


@pytest.fixture(scope="session")
def customer(example: RunningSystem) -> Iterator[PublicApi]:
    """A customer of the shop."""
    api = PublicApi(example.url, None)
    yield api
    api.close()
