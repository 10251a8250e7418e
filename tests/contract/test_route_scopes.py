"""Every route of every service names the scope that it needs, or says that it is public, and needs no thread."""

import inspect
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from signalbox.common.auth import PUBLIC, Requires
from signalbox.common.cli.serve import load_factory
from signalbox.common.settings import SERVICE_NAMES
from signalbox.common.web.sockets import SocketRoute
from signalbox.contracts.identity import Scope

DOCUMENTATION = {"/openapi.json"}


def parts(dependant: Dependant) -> Iterator[object]:
    """What a route calls: its endpoint and its dependencies."""
    yield dependant.call
    for inner in dependant.dependencies:
        yield from parts(inner)


def requirements(dependant: Dependant) -> Iterator[Requires]:
    return (part for part in parts(dependant) if isinstance(part, Requires))


@pytest.fixture(scope="module", params=SERVICE_NAMES)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNALBOX_DATA", str(tmp_path_factory.mktemp("data")))
        yield load_factory(request.param)()


def test_every_route_declares_a_scope_or_is_public(app: FastAPI) -> None:
    undeclared, checked = [], 0
    for route in app.routes:
        path = getattr(route, "path", str(route))
        if path in DOCUMENTATION:
            continue
        checked += 1
        if isinstance(route, SocketRoute):
            assert isinstance(route.scope, Scope), path
            continue
        assert isinstance(route, APIRoute), f"{path} is no API route: nobody checks who asks"
        public = (route.openapi_extra or {}).get("x-public") is PUBLIC["x-public"]
        scopes = [found.scope for found in requirements(route.dependant)]
        if public is bool(scopes):
            undeclared.append(path)
        if path.startswith("/internal/") and scopes != [Scope.SERVICE]:
            undeclared.append(path)
    assert undeclared == []
    assert checked >= 4, "live, ready, metrics and what the service is for"


def test_no_public_route_of_a_service_needs_the_service_scope(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, APIRoute) and not route.path.startswith("/internal/"):
            assert all(found.scope is not Scope.SERVICE for found in requirements(route.dependant)), (
                route.path
            )


def test_no_request_goes_through_a_thread(app: FastAPI) -> None:
    # FastAPI calls what is no coroutine in a thread: a tenth of a millisecond, and a queue under load.
    called = [
        part for route in app.routes if isinstance(route, APIRoute) for part in parts(route.dependant) if part
    ]
    assert len(called) >= 4
    in_threads = [
        part
        for part in called
        if not inspect.iscoroutinefunction(part if inspect.isfunction(part) else type(part).__call__)
    ]
    assert in_threads == []
