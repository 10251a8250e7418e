"""The server's side of WebSockets, imported when the first one is opened."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class DrainingWebSocket(WebSocketsSansIOProtocol):
    """A connection that its app closes when the process ends: the server alone would cut it in mid-turn."""

    def shutdown(self) -> None:
        """Called by the server when it ends; whoever is not connected yet is turned away."""
        if not self.handshake_complete:
            super().shutdown()
