"""Refusing requests for other names, and of other sites' pages, while no credential is needed.

Without authentication the only fence is that the process listens on loopback. A page in the browser of the same
machine gets around it in two ways. Its own name is made to resolve to 127.0.0.1 (DNS rebinding): the request then
carries that name in ``Host``. Or it sends what a browser lets any page send anywhere without asking (a POST of plain
text, a WebSocket): the request then carries the page's site in ``Origin``.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from signalbox.common.errors import Forbidden
from signalbox.common.web.problems import problem_response

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", ""})


class HostNotAllowed(Forbidden):
    """The request is for a name that is not this machine's own."""

    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"Without authentication only requests for localhost are answered, not for '{host}'; use 127.0.0.1, "
            "name the host in SIGNALBOX_HOSTS, or set SIGNALBOX_AUTH=keys."
        )


class OriginNotAllowed(Forbidden):
    """The request was made by a page of another site."""

    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Without authentication pages of other sites are not answered, and this one is of '{origin}'; name its "
            "host in SIGNALBOX_HOSTS, or set SIGNALBOX_AUTH=keys."
        )


class OwnHosts:
    """The names that a process answers to: those of loopback, and ``hosts``."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}

    def stranger(self, header: str) -> str | None:
        """The host that a ``Host`` header names, when it is none of them."""
        given = header.lower()
        host = given if given.endswith("]") else given.rpartition(":")[0] or given
        return None if host in self._hosts else host

    def foreign(self, origin: str) -> bool:
        """Whether an ``Origin`` header (empty where there is none) names the page of another site."""
        return self.stranger(urlsplit(origin).netloc or origin) is not None


class LocalHostsOnly:
    """Wraps the app of a process that serves without authentication and has these ``hosts``."""

    def __init__(self, app: ASGIApp, hosts: OwnHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] in {"http", "websocket"}:
            origin = _header(scope, b"origin")
            stranger = self._hosts.stranger(_header(scope, b"host"))
            if stranger is not None or self._hosts.foreign(origin):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                    return
                error = OriginNotAllowed(origin) if stranger is None else HostNotAllowed(stranger)
                await problem_response(error, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")
