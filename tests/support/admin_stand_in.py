"""A stand-in for the Admin service, as an ASGI app: the change feed and the snapshots, set by hand."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from support.apps import service_app

from signalbox.common.auth import PUBLIC
from signalbox.common.errors import NotFound, Unavailable
from signalbox.contracts.admin import (
    ChangesReply,
    ChangesRequest,
    ReleasePointer,
    SnapshotDocument,
    SnapshotRef,
)
from signalbox.contracts.identity import KeyRecord


def hash_of(document: str) -> str:
    """The hash of a document's text."""
    return hashlib.sha256(document.encode()).hexdigest()


class AdminStandIn:
    """What Admin would say. A long poll waits until something changes or the stand-in is told to go on."""

    def __init__(self) -> None:
        self.down = False
        self.revision = 1
        self.releases: list[ReleasePointer] = []
        self.prepare: list[SnapshotRef] = []
        self.keys: list[KeyRecord] = []
        self.documents: dict[tuple[str, str], SnapshotDocument] = {}
        self.fetched: list[tuple[str, str]] = []
        self.polls: list[ChangesRequest] = []
        self.fetching = asyncio.Event()
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()
        self._changed = asyncio.Condition()
        self.app: FastAPI = service_app(self._router(), name="admin", auth="local")

    def store(
        self, document: str, tenant: str = "acme", changes: Mapping[str, Any] | None = None
    ) -> SnapshotRef:
        """Store a document; ``changes`` replace fields of what is answered for it."""
        ref = SnapshotRef(tenant=tenant, config_hash=hash_of(document))
        stored = SnapshotDocument(config_hash=ref.config_hash, tenant=tenant, document=document)
        self.documents[tenant, ref.config_hash] = stored.model_copy(update=changes)
        return ref

    async def activate(self, *refs: SnapshotRef, workflow_id: str = "shop", default: bool = True) -> None:
        """Make these the only active releases, one per tenant, and tell those who wait."""
        self.releases = [
            ReleasePointer(
                tenant=ref.tenant,
                environment="default",
                workflow_id=workflow_id,
                number=self.revision,
                config_hash=ref.config_hash,
                is_default=default,
            )
            for ref in refs
        ]
        await self.change()

    async def change(self) -> None:
        """Raise the revision and answer the polls that wait."""
        async with self._changed:
            self.revision += 1
            self._changed.notify_all()

    async def go_down(self) -> None:
        """Answer nothing from now on."""
        self.down = True
        await self.change()

    async def polled(self, number: int) -> ChangesRequest:
        """The ``number``-th poll (from 1), as soon as it has come."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.polls) >= number)
        return self.polls[number - 1]

    def _router(self) -> APIRouter:
        router = APIRouter(prefix="/internal/v1/admin")

        @router.post("/changes", openapi_extra=PUBLIC)
        async def changes(body: ChangesRequest) -> ChangesReply:
            if self.down:
                raise Unavailable("Admin is down.")
            async with self._changed:
                self.polls.append(body)
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self.down or self.revision != body.after)
            if self.down:
                raise Unavailable("Admin is down.")
            return ChangesReply(
                revision=self.revision, releases=self.releases, prepare=self.prepare, keys=self.keys
            )

        @router.get("/snapshots/{tenant}/{config_hash}", openapi_extra=PUBLIC)
        async def snapshot(tenant: str, config_hash: str) -> SnapshotDocument:
            if self.down:
                raise Unavailable("Admin is down.")
            self.fetched.append((tenant, config_hash))
            self.fetching.set()
            await self.may_fetch.wait()
            if (tenant, config_hash) not in self.documents:
                raise NotFound("There is no such snapshot.")
            return self.documents[tenant, config_hash]

        return router
