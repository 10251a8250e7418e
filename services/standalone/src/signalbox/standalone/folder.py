"""Serving a workflow folder: publishes its file at start, and again whenever it is saved."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from signalbox.common.documents import parse
from signalbox.common.errors import SignalboxError, Unavailable

_LOG = logging.getLogger(__name__)

FILE_NAME = "workflow.yaml"
_LOOK_EVERY_S = 0.15
_RETRY_S = 0.2
_RETRIES = 50

Publish = Callable[[dict[str, Any]], Awaitable[str]]
"""Publishes a document; returns a line that says what was published."""


class WorkflowFolder:
    """Keeps what is served in step with the file in a folder."""

    def __init__(self, folder: Path, publish: Publish, say: Callable[[str], None]) -> None:
        self._file = folder / FILE_NAME if folder.is_dir() else folder
        self._publish = publish
        self._say = say
        self._published = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Publish now, then on every save."""
        self._task = asyncio.create_task(self._run(), name="workflow-folder")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def check(self) -> None:
        """For ``/ready``: the file was published once.

        Raises:
            Unavailable: not yet, or it has errors.
        """
        if not self._published.is_set():
            raise Unavailable(f"{self._file} is not published yet.")

    async def _run(self) -> None:
        """Look at the file now and then: that works on every file system, and costs nothing to load."""
        published = await asyncio.to_thread(self._saved)
        await self._publish_file()
        before = published
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now = await asyncio.to_thread(self._saved)
            # A save that is still going on is seen again: it is over when two looks find the same.
            if now == before and now != published:
                published = now
                await self._publish_file()
            before = now

    def _saved(self) -> tuple[int, int, int] | None:
        """What changes when the file is saved; None without a file."""
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    async def _publish_file(self) -> None:
        """Publish; a file with errors is reported and what was published before goes on being served."""
        for _ in range(_RETRIES):
            try:
                document = parse(await asyncio.to_thread(self._file.read_bytes))
                self._say(await self._publish(document))
                self._published.set()
            except Unavailable:
                # At start the services are still finding each other.
                await asyncio.sleep(_RETRY_S)
                continue
            except SignalboxError as error:
                self._say(f"not published: {error.detail}")
                for item in error.errors:
                    self._say(f"  {item.pointer or '/'}: {item.detail} [{item.code}]")
            except OSError as error:
                self._say(f"not published: {error}")
            return
