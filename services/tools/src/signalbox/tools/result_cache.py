"""Results of reads, kept for as long as their tool allows, per tenant and exact request."""

import logging
from typing import Any

import orjson

from signalbox.common.cache import CacheUnavailable, StoredValue, Values, key
from signalbox.contracts.context import CallContext

_LOG = logging.getLogger(__name__)
_MAX_BYTES = 65_536


class ResultCache:
    """Remembers what reads gave. Without a cache every read is made again; that is never an error."""

    def __init__(self, values: Values) -> None:
        self._values = values

    async def find(self, context: CallContext, tool: str, fingerprint: str) -> tuple[bool, Any]:
        """Whether a result is kept, and the result."""
        try:
            kept = await self._values.get(_key(context, tool, fingerprint))
        except CacheUnavailable as error:
            _LOG.debug("reading without the cache: %s", error.detail)
            return False, None
        return (False, None) if kept is None else (True, orjson.loads(kept))

    async def keep(
        self, context: CallContext, tool: str, fingerprint: str, output: Any, seconds: int
    ) -> None:
        """Keep a result; a large one is not worth its place."""
        content = orjson.dumps(output)
        if len(content) > _MAX_BYTES:
            return
        try:
            await self._values.put(StoredValue(_key(context, tool, fingerprint), content, seconds * 1000))
        except CacheUnavailable as error:
            _LOG.debug("not keeping a result: %s", error.detail)


def _key(context: CallContext, tool: str, fingerprint: str) -> str:
    return key("tool", context.tenant, context.workflow_id, context.config_hash, tool, fingerprint)
