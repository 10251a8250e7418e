"""The running systems of the contract and end-to-end suites, one per shape, started once per session.

Both start while the first tests run. `tests/contract/README.md` says how to point the suite at a running system.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from support.systems import URL_VARIABLE, RunningSystem, Systems, start_external, start_full

SHAPES = ("external",) if URL_VARIABLE in os.environ else ("one_process", "services")


@pytest.fixture(scope="session")
def systems(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    """Starts and ends systems with keys, tenants, both workflows and the fake provider."""
    directory = tmp_path_factory.mktemp("systems")
    supply = Systems(
        {
            shape: lambda stack, shape=shape: start_full(
                stack, shape, Path(mkdtemp(prefix=f"{shape}-", dir=directory))
            )
            for shape in ("one_process", "services")
        }
        | {
            "external": start_external,
        }
    )
    supply.announce(_wanted(request.session.items, "system"))
    yield supply
    supply.stop()


@pytest.fixture(scope="session", params=SHAPES)
def system(request: pytest.FixtureRequest, systems: Systems) -> Iterator[RunningSystem]:
    """The system under test; each shape in turn."""
    if request.param not in SHAPES:
        pytest.skip(f"this is about the shape {request.param}, and {URL_VARIABLE} names a running system")
    yield systems.get(request.param)
    systems.release(request.param)


def _wanted(items: list[pytest.Item], fixture: str) -> list[str]:
    """The parameters that the session's tests have for a fixture, in order."""
    found = (getattr(item, "callspec", None) for item in items)
    return list(dict.fromkeys(str(spec.params[fixture]) for spec in found if spec and fixture in spec.params))
