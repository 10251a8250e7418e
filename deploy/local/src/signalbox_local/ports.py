"""TCP ports on the loopback address."""

import random
import socket

from signalbox_local.errors import LocalError, PortTakenError

HOST = "127.0.0.1"

# Below the range that Linux gives to outgoing connections (32768 and up), so that a port found free is not
# taken by somebody's client socket before the server binds it.
_LOWEST, _HIGHEST = 15_000, 32_000


def port_is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port on which nothing listens; nothing reserves it, so bind it soon."""
    for _ in range(200):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - spreads ports, guards nothing
        if port_is_free(port):
            return port
    message = f"no free TCP port between {_LOWEST} and {_HIGHEST} on {HOST}; stop what listens there"
    raise LocalError(message)


def require_free(port: int, what: str) -> None:
    """Raise `PortTakenError`, naming ``what`` wants the port, when something listens on ``port`` already."""
    if not port_is_free(port):
        message = (
            f"port {port} is taken, so {what} cannot listen on it; stop the other process or choose another"
        )
        raise PortTakenError(message)
