"""Calls of the command line: what breaks off is read once more, and written never twice."""

import httpx
import pytest

from signalbox.common.cli.http import call
from signalbox.common.errors import Unavailable


def client(breaks):
    asked = []

    def answer(request):
        asked.append(request.method)
        if len(asked) <= breaks:
            raise httpx.RemoteProtocolError("incomplete chunked read")
        return httpx.Response(200, json={"ok": True})

    made = httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))
    return made, asked


def test_an_answer_that_breaks_off_is_read_once_more():
    http, asked = client(1)
    assert call(http, "GET", "/x") == {"ok": True}
    assert asked == ["GET", "GET"]


@pytest.mark.parametrize(("method", "breaks", "times"), [("GET", 2, 2), ("POST", 1, 1)])
def test_what_breaks_off_twice_and_what_writes_is_not(method, breaks, times):
    http, asked = client(breaks)
    with pytest.raises(Unavailable):
        call(http, method, "/x")
    assert len(asked) == times
