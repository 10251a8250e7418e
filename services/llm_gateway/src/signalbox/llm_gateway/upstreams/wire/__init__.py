"""An HTTP/1.1 client for calls to providers: nothing but what such calls need, on asyncio and llhttp.

No redirects, cookies, proxies or decompression: what a provider sends is what the caller of ``WireClient`` gets.
"""

from signalbox.llm_gateway.upstreams.wire.answer import Answer
from signalbox.llm_gateway.upstreams.wire.client import WireClient
from signalbox.llm_gateway.upstreams.wire.errors import (
    AnswerTooLarge,
    BrokenOff,
    ConnectTimeout,
    NotConnected,
    WireError,
)
from signalbox.llm_gateway.upstreams.wire.request import BadAddress, BadHeader

__all__ = [
    "Answer",
    "AnswerTooLarge",
    "BadAddress",
    "BadHeader",
    "BrokenOff",
    "ConnectTimeout",
    "NotConnected",
    "WireClient",
    "WireError",
]
