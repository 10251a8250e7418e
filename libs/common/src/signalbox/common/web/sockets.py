"""WebSocket routes (RFC 6455): who may open one, said before the handshake as problem details."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from signalbox.common.auth import Authenticator, permitted
from signalbox.common.errors import SignalboxError
from signalbox.common.web.problems import problem_response
from signalbox.contracts.identity import Principal, Scope

SUBPROTOCOL = "signalbox"
_BEARER = "bearer."
"""A browser cannot set headers on a WebSocket: it sends its key as a second subprotocol, ``bearer.sbx_...``."""

Serve = Callable[[WebSocket, Callable[[], Principal]], Awaitable[None]]
"""Serves an accepted connection; the function gives who asks, as their credential is now, and raises SignalboxError."""


class SocketRoute(WebSocketRoute):
    """A WebSocket for principals that hold ``scope``."""

    def __init__(self, path: str, scope: Scope, serve: Serve) -> None:
        self.scope = scope
        super().__init__(path, _guarded(scope, serve))


def _guarded(scope: Scope, serve: Serve) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(websocket: WebSocket) -> None:
        authenticator: Authenticator = websocket.app.state.authenticator
        headers = _credentials(websocket)

        def principal() -> Principal:
            return permitted(authenticator.authenticate(headers), scope)

        try:
            principal()
        except SignalboxError as error:
            await websocket.send_denial_response(problem_response(error, websocket.scope["path"]))
            return
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await serve(websocket, principal)

    return endpoint


def _credentials(websocket: WebSocket) -> Mapping[str, str]:
    for offered in websocket.scope.get("subprotocols", ()):
        if offered.startswith(_BEARER):
            return {"authorization": f"Bearer {offered.removeprefix(_BEARER)}"}
    return websocket.headers
