"""Copies of snapshots that were damaged on a service's disk: refused, fetched again from Admin and repaired."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.public_api import PublicApi
from support.systems import READY_S
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import ServicesStack

pytestmark = pytest.mark.faults

FOLLOWERS = ("workflow", "flows", "tools", "skills")
REFUSAL = "ignoring a damaged snapshot file"


def cut(content: bytes) -> bytes:
    """The file as a machine leaves it that lost its power."""
    return content[: len(content) // 2]


def change_a_text(content: bytes) -> bytes:
    """Well-formed, with another word in a reply of the document."""
    assert b"on its way" in content
    return content.replace(b"on its way", b"on its weg")


def change_an_artefact(content: bytes) -> bytes:
    """Well-formed, with one bit of each artefact's bytes turned."""
    stored = json.loads(content)
    assert stored["artefacts"]
    for artefact in stored["artefacts"]:
        data = bytearray(base64.b64decode(artefact["data_base64"]))
        data[len(data) // 2] ^= 1
        artefact["data_base64"] = base64.b64encode(data).decode()
    return json.dumps(stored).encode()


DAMAGES: tuple[Callable[[bytes], bytes], ...] = (cut, change_a_text, change_an_artefact)


def copies(stack: ServicesStack, service: str) -> dict[Path, bytes]:
    """The kept snapshots of a service, which are some."""
    folder = stack.directory / "data" / f"{service}-0" / service / "snapshots"
    found = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert found, f"{service} keeps no snapshot in {folder}"
    return found


def damage_all(stack: ServicesStack, service: str, damage: Callable[[bytes], bytes]) -> dict[Path, bytes]:
    """Damage what a service that was killed has kept; what it was before."""
    whole = copies(stack, service)
    for path, content in whole.items():
        path.write_bytes(damage(content))
        path.with_name(".partial.0").write_bytes(b"left by a write that never ended")
    return whole


def refusals(stack: ServicesStack, service: str) -> int:
    """How often a service has said that it refuses a file."""
    return stack.service(service).log.read_text().count(REFUSAL)


def test_damaged_copies_are_refused_and_fetched_again(stack: ServicesStack) -> None:
    refused = repaired = 0
    with Traffic(stack.edge_url) as traffic:
        traffic.wait_for(more_acknowledged=6)
        for damage in DAMAGES:
            before = {name: refusals(stack, name) for name in FOLLOWERS}
            for name in FOLLOWERS:
                stack.service(name).kill()
            whole = {name: damage_all(stack, name, damage) for name in FOLLOWERS}
            for name in FOLLOWERS:
                stack.service(name).launch()
            for name in FOLLOWERS:
                stack.service(name).wait_ready(READY_S)
                for path, content in whole[name].items():
                    eventually(
                        lambda path=path, content=content: path.read_bytes() == content,
                        f"{name} repaired what {damage.__name__} left",
                    )
                    repaired += 1
                assert refusals(stack, name) > before[name]
                refused += refusals(stack, name) - before[name]
            traffic.wait_for(more_acknowledged=6)
    traffic.check().print("18 damaged copies", refused=refused, repaired=repaired)
    assert not any("on its weg" in answer for said in traffic.said.values() for _, answer in said)


def test_what_is_damaged_while_admin_is_dead_is_not_served_and_comes_back_with_it(
    stack: ServicesStack, user: PublicApi
) -> None:
    assert "Order 1042 is on its way" in user.query("where is my order 1042?")["message"]
    stack.service("admin").kill()
    stack.service("workflow").kill()
    damage_all(stack, "workflow", change_a_text)
    stack.service("workflow").start(READY_S)
    url = stack.service_urls("workflow")[0]
    answer = httpx.post(
        f"{url}/api/v1/query", json={"message": "where is my order 1042?", "session_id": "damaged-copy"}
    )
    assert answer.status_code == 503, answer.text
    assert "admin" in answer.json()["detail"].lower(), answer.text
    stack.service("admin").start(READY_S)
    reply = eventually(
        lambda: httpx.post(
            f"{url}/api/v1/query", json={"message": "where is my order 1042?", "session_id": "damaged-copy"}
        ).raise_for_status(),
        "the snapshot is fetched again",
    )
    assert "Order 1042 is on its way" in reply.json()["message"]
