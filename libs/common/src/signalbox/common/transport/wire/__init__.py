"""An HTTP/1.1 client: nothing but what calls to our services, providers and tools need, on asyncio and llhttp.

No redirects, cookies, proxies or decompression: what a server sends is what the caller of ``WireClient`` gets.
Why we have one: docs/adr/0027-one-http-client.md.
"""

from signalbox.common.transport.wire.answer import Answer
from signalbox.common.transport.wire.client import WireClient
from signalbox.common.transport.wire.dialing import Dialing, Resolve, system_resolve
from signalbox.common.transport.wire.errors import (
    AnswerTooLarge,
    BrokenOff,
    ConnectTimeout,
    NotConnected,
    NotHttp,
    WireError,
)
from signalbox.common.transport.wire.request import Address, BadAddress, BadHeader, Origin, address_of

__all__ = [
    "Address",
    "Answer",
    "AnswerTooLarge",
    "BadAddress",
    "BadHeader",
    "BrokenOff",
    "ConnectTimeout",
    "Dialing",
    "NotConnected",
    "NotHttp",
    "Origin",
    "Resolve",
    "WireClient",
    "WireError",
    "address_of",
    "system_resolve",
]
