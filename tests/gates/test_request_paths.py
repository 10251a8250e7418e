"""The lists of ``docs/architecture.md`` are the way that queries take: its modules are entered, in its order."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Self

import httpx
import pytest
from gates.markdown import ROOT
from support.probe_backend import ProbeBackend
from support.systems import probe_document

from signalbox.common.settings import CommonSettings
from signalbox.common.transport import lifespans
from signalbox.standalone.app import OneProcess, create_app

_PAGE = ROOT / "docs" / "architecture.md"
_PATH = re.compile(r"^<!-- path: (?P<message>.+) -->\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE)
_ROW = re.compile(r"^\| `(?P<module>signalbox\.[\w.]+)` \|", re.MULTILINE)
PATHS = {match["message"]: _ROW.findall(match["rows"]) for match in _PATH.finditer(_PAGE.read_text("utf-8"))}


class Entered:
    """Notes the modules of ours whose functions are called while it is on, in order, as often as one is entered."""

    def __init__(self) -> None:
        self.modules: list[str] = []

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("signalbox.") and self.modules[-1:] != [module]:
            self.modules.append(module)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The modules that each query of the page enters, by its message."""
    data = tmp_path_factory.mktemp("data")
    signalbox = Path(sys.executable).with_name("signalbox")
    environment = {**os.environ, "SIGNALBOX_DATA": str(data)}
    subprocess.run([signalbox, "migrate"], env=environment, check=True, capture_output=True)
    settings = CommonSettings(data=data, outbound_allow=["127.0.0.1"])
    with ProbeBackend() as backend, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNALBOX_OLLAMA_URL", "")
        return asyncio.run(_ask(create_app(settings), probe_document(backend.url)))


async def _ask(app: OneProcess, document: dict[str, object]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    transport = httpx.ASGITransport(app=app)
    async with (
        lifespans([app._front]),
        httpx.AsyncClient(transport=transport, base_url="http://service", timeout=60) as client,
    ):
        published = await client.post("/admin/api/v1/publish", json={"document": document})
        assert published.status_code == 200, published.text
        for number, message in enumerate(PATHS):
            # What happens with the first call only (imports, a first connection) is no part of the way.
            for attempt in ("first", "second"):
                body = {"message": message, "session_id": f"{attempt}-{number}"}
                with Entered() as entered:
                    reply = await client.post("/api/v1/query", json=body)
                assert reply.json()["status"] == "success", json.dumps(reply.json())
            found[message] = entered.modules
    return found


def test_the_page_has_paths() -> None:
    assert len(PATHS) == 3
    assert all(len(path) >= 10 for path in PATHS.values())


@pytest.mark.parametrize("message", PATHS)
def test_a_query_takes_the_way_of_the_page(ways: dict[str, list[str]], message: str) -> None:
    # What was still to be done for the query before may come in between: rows of the ledger are written in batches.
    entered = iter(ways[message])
    reached = [module for module in PATHS[message] if module in entered]
    assert reached == PATHS[message], f"{PATHS[message][len(reached)]} is not entered after {reached[-1:]}"
