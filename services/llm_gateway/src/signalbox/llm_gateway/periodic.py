"""Work that is done from time to time, in the background."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from signalbox.common.errors import Unavailable

_LOG = logging.getLogger(__name__)


async def every(seconds: float, work: Callable[[], Awaitable[None]], what: str) -> None:
    """Do ``work`` at once and then every so often; that a database is away is said once, of ``what`` waits for it."""
    away = False
    while True:
        try:
            await work()
            away = False
        except Unavailable as error:
            if not away:
                _LOG.warning("%s wait for the database: %s", what, error.detail)
            away = True
        except Exception:  # noqa: BLE001 - a bug in one round must not end all that follow
            _LOG.exception("%s could not be kept; it is tried again", what)
        await asyncio.sleep(seconds)
