"""An Admin app called in memory, with a stand-in for the Workflow service, for tests."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import Table

from signalbox.common.auth import KeyRing, create_key
from signalbox.common.clients import AdminClient
from signalbox.common.errors import SignalboxError
from signalbox.common.platform import Platform
from signalbox.common.snapshots import ConfigFeed, Snapshots
from signalbox.common.storage import Statement
from signalbox.contracts.admin import BuildReply, BuildRequest, ServiceName, SnapshotDocument
from signalbox.contracts.identity import KeyRecord, Principal, Scope

API = "/admin/api/v1"


class FakeBuilder:
    """The Workflow service as publishing sees it."""

    def __init__(self) -> None:
        self.reply = BuildReply()
        self.failure: Exception | None = None
        self.requests: list[BuildRequest] = []

    async def build(self, request: BuildRequest, timeout_s: float) -> BuildReply:
        self.requests.append(request)
        if self.failure is not None:
            raise self.failure
        return self.reply


@dataclass
class Admin:
    """A running app and what talks to it."""

    app: FastAPI
    platform: Platform
    builder: FakeBuilder
    http: httpx.AsyncClient
    client: AdminClient

    def key(
        self,
        tenant: str,
        *scopes: Scope,
        workflows: list[str] | None = None,
        models: list[str] | None = None,
        default_max_output: int | None = None,
    ) -> dict[str, str]:
        """Headers with a key of a tenant, known to the app without having been stored."""
        new = create_key()
        record = KeyRecord(
            key_id=new.key_id,
            tenant=tenant,
            name="test",
            secret_sha256=new.secret_sha256,
            scopes=frozenset(scopes),
            workflows=None if workflows is None else frozenset(workflows),
            models=None if models is None else frozenset(models),
            default_max_output=default_max_output,
            created_at=0,
        )
        ring = self.app.state.authenticator.keys
        ring.replace([*ring.records, record])
        return {"authorization": f"Bearer {new.key}"}

    def token(self, principal: Principal | None = None) -> dict[str, str]:
        """Headers of a call from the Workflow service."""
        return {"authorization": f"Bearer {self.platform.tokens('workflow').mint('admin', principal)}"}

    async def publish(self, document: dict[str, Any], **more: Any) -> dict[str, Any]:
        response = await self.http.post(f"{API}/publish", json={"document": document, **more})
        assert response.status_code == 200, response.text
        return response.json()

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        """All rows of a table."""
        return await self.platform.database("admin").fetch_all(Statement(f"SELECT * FROM {table.name}"))


def document(workflow_id: str = "shop", **more: Any) -> dict[str, Any]:
    """A small valid workflow."""
    intent = {
        "id": "hours",
        "description": "The user asks when we are open.",
        "when": {"keywords": ["open"]},
        "then": {"reply": "From 9 to 17."},
    }
    return {"workflow_id": workflow_id, "name": "Shop", "intents": [intent], **more}


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 5.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while True:
        held = condition()
        if not isinstance(held, bool):
            held = await held
        if held:
            return
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


class Follower:
    """A service's replica: the real feed and the real snapshots, compiling by a function of the test."""

    def __init__(
        self,
        platform: Platform,
        directory: Path,
        service: ServiceName = "flows",
        compile_snapshot: Callable[[SnapshotDocument], str] = lambda document: document.document,
    ) -> None:
        client = platform.client(AdminClient, caller=service)
        self.keys = KeyRing()
        self.snapshots = Snapshots(client, compile_snapshot, directory / "snapshots")
        self.feed = ConfigFeed(
            service, "default", client, directory, snapshots=self.snapshots, keys=self.keys
        )

    def runs(self, tenant: str = "default", workflow_id: str = "shop") -> int | None:
        """The number of the release that it serves."""
        with contextlib.suppress(SignalboxError):
            return self.feed.release(tenant, workflow_id).number
        return None


@contextlib.asynccontextmanager
async def following(*followers: Follower) -> AsyncIterator[None]:
    """The followers, each having heard an answer and waiting for the next."""
    for follower in followers:
        await follower.feed.start()
    try:
        for follower in followers:
            await until(lambda follower=follower: follower.feed.revision >= 0)
        yield
    finally:
        for follower in followers:
            await follower.feed.stop()
