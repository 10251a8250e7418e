"""Routes with a direct way: a plain ASGI app answers the usual request, FastAPI whatever is not usual.

Routing, dependencies and middleware cost FastAPI three times what a turn decided by a rule needs for everything
else. A direct way answers only what it is sure of. What it is not, a body that does not validate above all, it hands
on as it came: errors have one source.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signalbox.common.web.disconnect import CancelOnDisconnect
from signalbox.common.web.middleware import HEADERS, RequestMiddleware
from signalbox.common.web.openapi import describe_common

JSON = "application/json"


class NotDirect(Exception):
    """The request is not for the direct way. ``messages`` are those of its body that were read."""

    def __init__(self, messages: list[Message]) -> None:
        super().__init__("not for the direct way")
        self.messages = messages


class DirectApp(FastAPI):
    """A FastAPI app whose busiest routes have a direct way.

    ``around`` are the options of ``RequestMiddleware``, which is around a direct way too: ids, span, limits and
    metrics are the same everywhere.
    """

    def __init__(self, around: Mapping[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self._around = around
        self._ways: dict[tuple[str, str], ASGIApp] = {}

    def add_way(self, method: str, path: str, way: ASGIApp) -> None:
        """Answer a route by ``way``, which raises ``NotDirect`` before it sends anything.

        Raises:
            LookupError: there is no such route.
        """
        route = next((route for route in self.router.routes if getattr(route, "path", None) == path), None)
        if route is None:
            raise LookupError(f"no route has the path {path}")
        direct = _Direct(CancelOnDisconnect(way), route, super().__call__)
        self._ways[method, path] = RequestMiddleware(direct, **self._around)

    @property
    def direct_routes(self) -> set[tuple[str, str]]:
        """Method and path of the routes that have a direct way."""
        return set(self._ways)

    def openapi(self) -> dict[str, Any]:
        """The description of the app's interface, made once: FastAPI's, and what our routes have in common."""
        if self.openapi_schema is None:
            describe_common(super().openapi(), self.routes)
        return super().openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or the lifespan."""
        way = self._ways.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if way is None:
            await super().__call__(scope, receive, send)
        else:
            await way(scope, receive, send)


async def json_body(scope: Scope, receive: Receive) -> list[Message]:
    """The messages of a body in JSON, which ``joined`` puts together.

    Raises:
        NotDirect: the body is said to be something else, or its sender left.
    """
    if scope[HEADERS].get("content-type") != JSON:
        raise NotDirect([])
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body", False):
        messages.append(await receive())
        if messages[-1]["type"] != "http.request":
            raise NotDirect(messages)
    return messages


def joined(messages: list[Message]) -> bytes:
    """The body that came in these messages."""
    return b"".join(message.get("body", b"") for message in messages)


async def answer_json(send: Send, content: bytes) -> None:
    """Answer with 200 and a whole body in JSON."""
    head = [(b"content-length", str(len(content)).encode()), (b"content-type", JSON.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": content})


class _Direct:
    """A direct way, and what follows where it does not go on."""

    def __init__(self, way: ASGIApp, route: Any, others: ASGIApp) -> None:
        self._way = way
        self._route = route
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._route
        try:
            await self._way(scope, receive, send)
        except NotDirect as refused:
            unread = refused.messages
        else:
            return

        async def from_the_start() -> Message:
            return unread.pop(0) if unread else await receive()

        await self._others(scope, from_the_start, send)
