"""What the transports raise.

::

    SignalboxError
    ├── HopError                    carries `service`, the one that was called
    │   ├── HopUnreachable     503  no connection, or it ended before an answer began
    │   ├── HopTimeout         504  the call's time was used up
    │   └── HopProtocolError   502  the answer broke off or was not HTTP
    └── OutboundError               carries `host`, never the whole URL: its query may hold a secret
        ├── OutboundRefused    403  the address may not be called
        ├── OutboundTimeout    504
        ├── OutboundTooLarge   502
        └── OutboundUnreachable 502

Statuses are what the client of the calling service sees when nobody handles the error on the way.
"""

from signalbox.common.errors import SignalboxError


class HopError(SignalboxError):
    """A call to a service of ours brought no whole answer."""

    code = "service_error"
    status = 502
    title = "A service did not answer"

    def __init__(self, service: str, detail: str) -> None:
        super().__init__(detail)
        self.service = service


class HopUnreachable(HopError):
    """No connection to the service, or it ended before the answer began."""

    code = "service_unreachable"
    status = 503
    title = "Service unreachable"


class HopTimeout(HopError):
    """The service did not answer within the time the call had."""

    code = "service_timeout"
    status = 504
    title = "Service timed out"


class HopProtocolError(HopError):
    """The answer broke off after its head, or was not valid HTTP."""

    code = "service_protocol_error"
    status = 502
    title = "Broken answer from a service"


class OutboundError(SignalboxError):
    """A call to somebody else's server brought no answer."""

    code = "outbound_error"
    status = 502
    title = "Outgoing call failed"

    def __init__(self, host: str, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail)
        self.host = host
        self.sent = sent
        """Whether the other side may have got the request; false only where it certainly has not."""


class OutboundRefused(OutboundError):
    """The URL or the address behind it may not be called from here."""

    code = "outbound_refused"
    status = 403
    title = "Outgoing call refused"


class OutboundTimeout(OutboundError):
    """No whole answer within the time the call had."""

    code = "outbound_timeout"
    status = 504
    title = "Outgoing call timed out"


class OutboundTooLarge(OutboundError):
    """The answer is larger than the call allows; reading stopped there."""

    code = "outbound_too_large"
    status = 502
    title = "Outgoing call answered too much"


class OutboundUnreachable(OutboundError):
    """The name does not resolve, nothing listens, TLS failed, or the connection broke."""

    code = "outbound_unreachable"
    status = 502
    title = "Outgoing call failed"
