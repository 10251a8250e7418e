"""What can go wrong between this process and a server; the callers of ``WireClient`` say it in words of their own.

::

    ConnectionError
    └── WireError
        ├── NotConnected      no connection came about
        │   └── ConnectTimeout    not in time
        ├── BrokenOff         the connection ended, or what came is not HTTP, before the answer was whole
        │   ├── NotHttp       what came is not HTTP/1.1
    │   └── Stale         a kept connection ended before a single byte of the answer
        └── AnswerTooLarge    head or body have more bytes than they may

A wait that took too long is a plain ``TimeoutError``.
"""


class WireError(ConnectionError):
    """Each has a few words that say why."""


class NotConnected(WireError):
    """No connection came about: nothing of the request was sent."""


class ConnectTimeout(NotConnected):
    """No address of the host accepted a connection in time."""


class BrokenOff(WireError):
    """The connection ended, or what came is not HTTP, before the answer was whole."""


class NotHttp(BrokenOff):
    """What came is not HTTP/1.1."""


class Stale(BrokenOff):
    """A kept connection ended before a single byte of the answer: the server had closed it while it was idle."""


class AnswerTooLarge(WireError):
    """The answer's head or body has more bytes than it may."""
