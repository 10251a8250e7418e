"""What can go wrong while starting the local parts: every message says what to do about it."""


class LocalError(RuntimeError):
    """Base of everything that this package raises on purpose."""


class BinaryNotFoundError(LocalError):
    """No usable executable was found; the message names the binary or the variable to provide."""


class PortTakenError(LocalError):
    """Another process listens on a port that was asked for."""


class NotReadyError(LocalError):
    """A process died, or was not ready before its deadline; the message ends with its last log lines."""


class NotManagedError(LocalError):
    """A server given by URL was asked to stop, die or freeze: only servers started here can."""
