"""Transports that are made at their first use."""

from contextlib import asynccontextmanager

import pytest

from signalbox.common import transport
from signalbox.common.transport import (
    DeferredHop,
    DeferredOutbound,
    HopRequest,
    HopResponse,
    HopStream,
    OutboundRequest,
    OutboundResponse,
)


class Recorder:
    """A hop and an outbound that remember what was asked of them."""

    def __init__(self):
        self.seen = []

    async def send(self, request):
        self.seen.append(request)
        made = OutboundResponse if isinstance(request, OutboundRequest) else HopResponse
        return made(200, {}, b"whole")

    @asynccontextmanager
    async def stream(self, request):
        self.seen.append(request)
        yield HopStream(200, {}, self.chunks(), self.aclose)

    async def chunks(self):
        yield b"part"

    async def aclose(self):
        self.seen.append("closed")


@pytest.fixture
def made():
    return []


@pytest.fixture
def make(made):
    def make():
        made.append(Recorder())
        return made[-1]

    return make


async def test_a_hop_is_made_once_at_its_first_call(make, made):
    hop = DeferredHop(make)
    assert made == []
    request = HopRequest("GET", "/x")
    assert (await hop.send(request)).body == b"whole"
    async with hop.stream(request) as answer:
        assert await answer.read() == b"part"
    await hop.aclose()
    [recorder] = made
    assert recorder.seen == [request, request, "closed"]


async def test_an_outbound_is_made_once_at_its_first_call(make, made):
    outbound = DeferredOutbound(make)
    assert made == []
    request = OutboundRequest("GET", "https://example.org")
    assert (await outbound.send(request)).body == (await outbound.send(request)).body == b"whole"
    await outbound.aclose()
    [recorder] = made
    assert recorder.seen == [request, request, "closed"]


async def test_what_was_never_used_is_closed_without_being_made(make, made):
    await DeferredHop(make).aclose()
    await DeferredOutbound(make).aclose()
    assert made == []


def test_the_package_gives_the_transports_that_it_imports_late():
    assert transport.HttpServiceHop.__module__ == "signalbox.common.transport.http_hop"
    assert transport.GuardedOutbound.__module__ == "signalbox.common.transport.outbound"
    with pytest.raises(AttributeError, match="no attribute 'Telepathy'"):
        transport.Telepathy  # noqa: B018
