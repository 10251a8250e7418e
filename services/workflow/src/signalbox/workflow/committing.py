"""Waiting for a commit: one that took effect is told, whoever stops the turn meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_its_end(commit: Coroutine[Any, Any, None]) -> None:
    """Await a commit even when cancelled meanwhile: one that took effect is too late to cancel, and is told."""
    task = asyncio.create_task(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        this = asyncio.current_task()
        if this is None or task.cancelled() or task.exception() is not None:
            raise
        this.uncancel()
