"""The README's picture is what the code wires: every service and every arrow in it, and no other."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from gates.markdown import ROOT, blocks

from signalbox.common.clients import ServiceClient
from signalbox.common.platform import Platform
from signalbox.common.settings import SERVICE_NAMES, CommonSettings
from signalbox.common.transport import Outbound
from signalbox.contracts.admin import ServiceName
from signalbox.standalone import app as one_process

_ARROW = re.compile(
    r"^(?P<source>\w+)(?:\(\[.*?\]\))? -\.?->(?:\|(?P<label>[^|]*)\|)? (?P<target>\w+)(?:\(\[.*?\]\))?$"
)
_NODE = re.compile(r"^(?P<name>\w+)\(\[.*\]\)$")

Arrow = tuple[str, str]


class RecordingPlatform(Platform):
    """A platform that notes who asked for which client, and who asked for the way out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.arrows: set[Arrow] = set()
        self.creating: ServiceName = "workflow"
        super().__init__(*args, **kwargs)

    def client(self, kind: Any, caller: ServiceName) -> Any:
        """See Platform."""
        assert issubclass(kind, ServiceClient)
        assert caller == self.creating, f"{self.creating} makes a client in the name of {caller}"
        self.arrows.add((caller, kind.service))
        return super().client(kind, caller)

    @property
    def outbound(self) -> Outbound:
        """The way out, for calls to anybody else's systems."""
        self.arrows.add((self.creating, "systems"))
        return self._outbound

    @outbound.setter
    def outbound(self, outbound: Outbound) -> None:
        self._outbound = outbound


def _drawn() -> dict[Arrow, str]:
    [picture] = [block.body for block in blocks(ROOT / "README.md") if block.language == "mermaid"]
    arrows: dict[Arrow, str] = {}
    for line in map(str.strip, picture.splitlines()):
        match = _ARROW.match(line)
        assert match or _NODE.match(line) or line == "flowchart LR", f"this test cannot read: {line}"
        if match:
            arrow = (match["source"], match["target"])
            assert arrow not in arrows, f"drawn twice: {line}"
            arrows[arrow] = match["label"] or ""
    return arrows


class Wired(NamedTuple):
    """The services' apps, and what each asked the platform for while it was created."""

    apps: dict[ServiceName, FastAPI]
    arrows: set[Arrow]


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Wired:
    """All services, created as they are in a process of their own."""
    settings = CommonSettings(data=tmp_path_factory.mktemp("data"))
    found = Wired({}, set())
    for name in SERVICE_NAMES:
        platform = RecordingPlatform.from_settings(settings)
        platform.creating = name
        own = next(
            kind
            for kind in vars(import_module(f"signalbox.{name}.settings")).values()
            if isinstance(kind, type) and issubclass(kind, CommonSettings) and kind is not CommonSettings
        )
        found.apps[name] = import_module(f"signalbox.{name}.app").create_app(
            own(**settings.model_dump()), platform
        )
        found.arrows.update(platform.arrows)
    return found


def test_every_arrow_between_services_is_wired(wired: Wired) -> None:
    between = {arrow for arrow in _drawn() if set(arrow) <= set(SERVICE_NAMES)}
    assert between == {arrow for arrow in wired.arrows if arrow[1] != "systems"}


def test_every_service_is_drawn() -> None:
    assert {name for arrow in _drawn() for name in arrow} == {
        *SERVICE_NAMES,
        "client",
        "systems",
        "providers",
    }


def test_the_ways_out_are_those_of_the_code(wired: Wired) -> None:
    drawn = {arrow for arrow in _drawn() if arrow[1] in {"systems", "providers"}}
    ways_out = {arrow for arrow in wired.arrows if arrow[1] == "systems"}
    with_upstreams = {
        (name, "providers")
        for name in SERVICE_NAMES
        if Path(ROOT, "services", name, "src/signalbox", name, "upstreams").is_dir()
    }
    assert drawn == ways_out | with_upstreams


def test_the_entrances_are_the_public_paths(wired: Wired) -> None:
    served = {
        ("client", service): prefix
        for prefix, service in one_process._PREFIXES
        if any(path.startswith(f"{prefix}/") for path in wired.apps[service].openapi()["paths"])
    }
    assert {arrow: label for arrow, label in _drawn().items() if arrow[0] == "client"} == served
