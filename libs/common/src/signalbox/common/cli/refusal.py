"""An error of ours that keeps an app from starting: taken out of the log, to be said in one sentence."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signalbox.common.errors import SignalboxError


class RefusalKept:
    """An ASGI app that remembers as ``refusal`` the error with which the app inside refused to start."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refusal: SignalboxError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or the lifespan."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def kept(message: Message) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, SignalboxError):
                self.refusal = error
                message = {**message, "message": ""}
            await send(message)

        await self._app(scope, receive, kept)
