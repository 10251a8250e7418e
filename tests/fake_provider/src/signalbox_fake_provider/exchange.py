"""One request being answered at the level where faults happen: bytes, silence, and the connection itself."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from signalbox_fake_provider.faults import Fault
from signalbox_fake_provider.records import Journal, RequestRecord

TRANSPORT = "signalbox.transport"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_LINGER_ZERO = struct.pack("ii", 1, 0)


class TransportProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also hands its connection to the application, to be broken."""

    def on_message_begin(self) -> None:
        """Put the transport into the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class Exchange:
    """Sends the pieces of one answer and notes what was sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        """Answer the request of ``scope``, whose body has been read, noting everything in ``record``."""
        self._scope = scope
        self._receive = receive
        self._send = send
        self.record = record

    @property
    def transport(self) -> asyncio.Transport:
        """The connection."""
        transport: asyncio.Transport = self._scope["extensions"][TRANSPORT]["transport"]
        return transport

    async def start(self, status: int, content_type: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """Send status and headers."""
        given = {
            "content-type": content_type,
            "x-request-id": f"req_fake_{self.record.id}",
            **(headers or {}),
        }
        self.record.status = status
        self.record.first_byte_ms = self.record.elapsed_ms()
        raw = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send bytes of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def event(self, data: bytes | Mapping[str, Any]) -> None:
        """Send one server-sent event."""
        payload = data if isinstance(data, bytes) else orjson.dumps(data)
        await self.write(b"data: " + payload + b"\n\n")

    async def whole(self, status: int, body: object, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """Send a complete answer: JSON, or a text as it is."""
        data = body.encode() if isinstance(body, str) else orjson.dumps(body)
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        lower = {name.lower(): value for name, value in headers.items()}
        await self.start(status, lower.pop("content-type", kind), {"content-length": str(len(data)), **lower})
        await self.write(data, more=False)

    async def silence(self, hold_ms: int | None = None) -> None:
        """Send nothing: for ever, or for ``hold_ms`` and then close the connection."""
        if hold_ms is None:
            await asyncio.Event().wait()
        await pause(hold_ms)
        await self.cut(reset=False)

    async def cut(self, *, reset: bool) -> None:
        """Close the connection without ending the answer, by TCP reset when asked; does not return."""
        self.record.cut = True
        if reset:
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO
            )
            self.transport.abort()
        else:
            self.transport.close()
        await asyncio.Event().wait()

    async def client_left(self) -> None:
        """Return when the connection is gone."""
        message: Message = {}
        while message.get("type") != "http.disconnect":
            message = await self._receive()


async def pause(milliseconds: int | None) -> None:
    """Wait, without yielding when there is nothing to wait for."""
    if milliseconds:
        await asyncio.sleep(milliseconds / 1000)


async def run(exchange: Exchange, journal: Journal, answer: Callable[[], Awaitable[None]]) -> None:
    """Give ``answer``, stopping it when the client leaves or the connection has been cut."""
    working = asyncio.ensure_future(answer())
    leaving = asyncio.ensure_future(exchange.client_left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        else:
            exchange.record.disconnected = not exchange.record.cut
    except asyncio.CancelledError:
        # The provider ends: uvicorn would make an answer of its own out of that.
        exchange.transport.abort()
        raise
    finally:
        for task in (working, leaving):
            task.cancel()
        journal.end(exchange.record)


async def strike_before_answer(exchange: Exchange, fault: Fault | None) -> None:
    """Do what a fault does before the first byte, if it does anything then."""
    if fault is not None and fault.after_chunks is None:
        await break_off(exchange, fault)


async def break_off(exchange: Exchange, fault: Fault) -> None:
    """Fall silent or cut the connection when ``fault`` is of that kind; otherwise return."""
    match fault.kind:
        case "hang":
            await exchange.silence()
        case "stall":
            await exchange.silence(fault.hold_ms)
        case "cut":
            await exchange.cut(reset=fault.reset)
        case _:
            return
