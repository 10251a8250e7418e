"""Writes of one go leave in one piece, in order, and before the connection is closed."""

import asyncio

import pytest

from signalbox.common.cli.joined_writes import JoiningTransport

LARGE = b"x" * 64 * 1024


class Wire:
    """A transport that keeps what it is told."""

    def __init__(self):
        self.told = []
        self.closed = False

    def write(self, data):
        self.told.append(data)

    def write_eof(self):
        self.told.append("eof")

    def close(self):
        self.closed = True
        self.told.append("close")

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return f"the {name}"


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
async def joining(wire):
    return JoiningTransport(wire, asyncio.get_running_loop())


async def test_what_is_written_in_one_go_is_sent_together(wire, joining):
    joining.write(b"head ")
    joining.write(b"body")
    assert wire.told == []
    await asyncio.sleep(0)
    joining.write(b"next")
    await asyncio.sleep(0)
    assert wire.told == [b"head body", b"next"]


async def test_several_pieces_keep_their_order(wire, joining):
    joining.write(b"1")
    joining.writelines([b"2", b"3"])
    await asyncio.sleep(0)
    assert wire.told == [b"123"]


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_the_end_comes_behind_what_was_written(wire, joining, end):
    joining.write(b"last")
    getattr(joining, end)()
    assert wire.told == [b"last", end.removeprefix("write_")]
    await asyncio.sleep(0)
    assert len(wire.told) == 2


async def test_large_pieces_are_sent_at_once_and_in_order(wire, joining):
    joining.write(LARGE)
    assert wire.told == [LARGE]
    joining.write(b"head")
    joining.write(LARGE)
    assert wire.told == [LARGE, b"head" + LARGE]
    await asyncio.sleep(0)
    assert len(wire.told) == 2


async def test_a_connection_that_was_lost_meanwhile_is_sent_nothing(wire, joining):
    joining.write(b"late")
    wire.closed = True
    await asyncio.sleep(0)
    assert wire.told == []


async def test_everything_else_is_the_transports(joining):
    assert joining.get_extra_info("peername") == "the peername"
