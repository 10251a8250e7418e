"""Snapshots by hash: fetched once, compiled once, kept in memory up to a number of bytes and on disk.

The disk copy is what lets a service restart and serve while Admin is down.
"""

import asyncio
import base64
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Generic, TypeVar

from signalbox.common.clients import AdminClient, ServiceCallFailed
from signalbox.common.errors import NotFound, SignalboxError
from signalbox.common.kept_files import KeptFiles
from signalbox.common.record import record
from signalbox.contracts.admin import Artefact, SnapshotDocument, SnapshotRef

_LOG = logging.getLogger(__name__)

CompiledT = TypeVar("CompiledT")

MEMORY_PER_BYTE = 16
"""Bytes of memory for each byte of a document, when it is parsed and its templates are compiled: 14 were measured."""

MEMORY_PER_SNAPSHOT = 16 * 1024
"""Bytes that the smallest takes: 14,000 were measured."""

DEFAULT_DISK_BYTES = 1024 * 1024 * 1024


class UnknownSnapshot(NotFound):
    """There is no snapshot with this hash in this tenant."""

    code = "unknown_snapshot"

    def __init__(self, config_hash: str) -> None:
        super().__init__(f"There is no snapshot {config_hash[:12]}... in this tenant; publish it first.")


@record
class _Held(Generic[CompiledT]):
    compiled: CompiledT
    size: int


class Snapshots(Generic[CompiledT]):
    """The compiled snapshots of one service.

    ``compile_snapshot`` turns a document into what the service works with; it runs in a thread, once each.
    ``max_bytes`` bounds the memory that they take, as ``weigh`` tells it of each document and of what was built from
    it. Where they are too many, those that no release names are dropped first, then the active ones that were used
    longest ago: they stay on disk, and are loaded again when somebody asks. On disk, too, there are at most
    ``disk_bytes``, or as much as the active ones take: what was dropped there is fetched from Admin.
    """

    def __init__(
        self,
        admin: AdminClient,
        compile_snapshot: Callable[[SnapshotDocument], CompiledT],
        directory: Path,
        max_bytes: int = 64 * 1024 * 1024,
        weigh: Callable[[SnapshotDocument], int] | None = None,
        disk_bytes: int = DEFAULT_DISK_BYTES,
    ) -> None:
        self._admin = admin
        self._compile = compile_snapshot
        self._files = KeptFiles(directory, disk_bytes, self._spared_files)
        self._max_bytes = max_bytes
        self._weigh = weigh or weight_of_document
        self._held: OrderedDict[SnapshotRef, _Held[CompiledT]] = OrderedDict()
        self._bytes = 0
        self._loading: dict[SnapshotRef, asyncio.Task[_Held[CompiledT]]] = {}
        self._active: frozenset[SnapshotRef] = frozenset()
        self._prepared: frozenset[SnapshotRef] = frozenset()

    @property
    def loaded(self) -> list[SnapshotRef]:
        """Those that can be served at once."""
        return list(self._held)

    def has(self, ref: SnapshotRef) -> bool:
        """Whether one can be served at once."""
        return ref in self._held

    @property
    def memory(self) -> int:
        """Bytes that those in memory take, as they were weighed."""
        return self._bytes

    def pin(self, active: Collection[SnapshotRef], prepared: Collection[SnapshotRef] = ()) -> None:
        """Which are active, and which are to become so, in place of those named before.

        Active ones are dropped last, those that are being prepared never: Admin waits for them.
        """
        self._active, self._prepared = frozenset(active), frozenset(prepared)

    async def get(self, tenant: str, config_hash: str) -> CompiledT:
        """The compiled snapshot.

        Raises:
            UnknownSnapshot: the tenant has none with this hash.
        """
        ref = SnapshotRef(tenant=tenant, config_hash=config_hash)
        held = self._held.get(ref)
        if held is None:
            held = await self._load_once(ref)
        else:
            self._held.move_to_end(ref)
        return held.compiled

    def peek(self, tenant: str, config_hash: str) -> CompiledT | None:
        """The compiled snapshot if it is in memory; never waits."""
        held = self._held.get(SnapshotRef(tenant=tenant, config_hash=config_hash))
        return held.compiled if held is not None else None

    async def preload(self, ref: SnapshotRef) -> None:
        """Have the snapshot ready, or, where memory for active ones is used up, on disk at least."""
        if ref in self._held:
            return
        if ref in self._prepared or self._taken_by_active() < self._max_bytes:
            await self._load_once(ref)
        elif not await asyncio.to_thread(self._files.has, _file(ref)):
            await asyncio.to_thread(self._write, ref, await self._fetch(ref))

    def _taken_by_active(self) -> int:
        return sum(held.size for ref, held in self._held.items() if ref in self._active)

    async def _load_once(self, ref: SnapshotRef) -> _Held[CompiledT]:
        task = self._loading.get(ref)
        if task is None:
            task = self._loading[ref] = asyncio.create_task(self._load(ref))
            task.add_done_callback(lambda done: self._loaded(ref, done))
        # Shielded: a caller that is cancelled must not take the snapshot from those who wait for it too.
        return await asyncio.shield(task)

    def _loaded(self, ref: SnapshotRef, task: "asyncio.Task[_Held[CompiledT]]") -> None:
        self._loading.pop(ref, None)
        if not task.cancelled():
            task.exception()  # seen: whoever waited got it, and all of them may have left

    async def _load(self, ref: SnapshotRef) -> _Held[CompiledT]:
        document = await asyncio.to_thread(self._read, ref)
        if document is None:
            document = await self._fetch(ref)
            await asyncio.to_thread(self._write, ref, document)
        compiled = await asyncio.to_thread(self._compile, document)
        held = _Held(compiled, self._weigh(document))
        self._held[ref] = held
        self._bytes += held.size
        self._evict(ref)
        return held

    async def _fetch(self, ref: SnapshotRef) -> SnapshotDocument:
        try:
            document = await self._admin.snapshot(ref)
        except ServiceCallFailed as error:
            if error.upstream.status == 404:
                raise UnknownSnapshot(ref.config_hash) from error
            raise
        if not _is(document, ref):
            raise SignalboxError(f"The snapshot received for {ref.config_hash[:12]}... is another one.")
        return document

    def _evict(self, keep: SnapshotRef) -> None:
        for spared in (self._active | self._prepared, self._prepared):
            for candidate in list(self._held):
                if self._bytes <= self._max_bytes:
                    return
                if candidate != keep and candidate not in spared:
                    self._bytes -= self._held.pop(candidate).size

    def _spared_files(self) -> list[str]:
        return [_file(ref) for ref in self._active | self._prepared]

    def _read(self, ref: SnapshotRef) -> SnapshotDocument | None:
        content = self._files.read(_file(ref))
        if content is None:
            return None
        try:
            stored = SnapshotDocument.model_validate_json(content)
        except ValueError as error:
            _LOG.warning("ignoring a damaged snapshot file: %s", error)
            return None
        if not _is(stored, ref) or not all(map(_is_whole, stored.artefacts)):
            _LOG.warning("ignoring a damaged snapshot file: it does not hold what its hashes say")
            return None
        return stored

    def _write(self, ref: SnapshotRef, document: SnapshotDocument) -> None:
        # Only a restart while Admin is down needs the file.
        self._files.write(_file(ref), document.model_dump_json().encode())


def _file(ref: SnapshotRef) -> str:
    return f"{ref.tenant}/{ref.config_hash}.json"


def _is(document: SnapshotDocument, ref: SnapshotRef) -> bool:
    digest = hashlib.sha256(document.document.encode()).hexdigest()
    return document.tenant == ref.tenant and digest == document.config_hash == ref.config_hash


def _is_whole(artefact: Artefact) -> bool:
    """Whether the bytes are those that were built: without them, a start would be slower, or learn of no example."""
    try:
        data = base64.b64decode(artefact.data_base64, validate=True)
    except ValueError:
        return False
    return hashlib.sha256(data).hexdigest() == artefact.sha256


def weight_of_document(document: SnapshotDocument) -> int:
    """About what a document takes in memory, in bytes, without anything that was built from it."""
    return MEMORY_PER_SNAPSHOT + MEMORY_PER_BYTE * len(document.document.encode())
