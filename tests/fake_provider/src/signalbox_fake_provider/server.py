"""Running the provider: one uvicorn server on the loopback address."""

import socket

import uvicorn

from signalbox_fake_provider.app import ProviderState, create_app
from signalbox_fake_provider.exchange import TransportProtocol

HOST = "127.0.0.1"
_BACKLOG = 1024


def listen(port: int) -> socket.socket:
    """A socket that listens on the loopback ``port``, 0 for any; raises `OSError` when it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets this only on sockets that name their protocol; without it each stream waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    listener.listen(_BACKLOG)
    return listener


def create_server(state: ProviderState) -> uvicorn.Server:
    """A server of ``state``; requests that hang on purpose do not delay its end."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(state),
            http=TransportProtocol,
            # Only asyncio's own loop lets a socket be told to send a reset.
            loop="asyncio",
            lifespan="off",
            log_config=None,
            # Answers left unfinished are this server's trade, not errors.
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=1,
        )
    )
