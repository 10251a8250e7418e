"""How Signalbox calls out: `ServiceHop` to its own services, guarded `Outbound` to everybody else's.

- `HttpServiceHop` (another process) and `AsgiServiceHop` (the same process) are interchangeable: the shared
  bodies in ``tests/test_transport_hops.py`` run over both.
- `GuardedOutbound` is the only way to an address that came out of a workflow config.
- `lifespans` enters the ASGI lifespans of applications that share a process.
"""

from typing import TYPE_CHECKING, Any

from signalbox.common.transport.addresses import AllowList, refusal
from signalbox.common.transport.asgi_hop import AsgiServiceHop
from signalbox.common.transport.deferred import DeferredHop, DeferredOutbound, load_http_client
from signalbox.common.transport.errors import (
    HopError,
    HopProtocolError,
    HopTimeout,
    HopUnreachable,
    OutboundError,
    OutboundRefused,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from signalbox.common.transport.lifespan import LifespanError, LifespanManager, lifespans
from signalbox.common.transport.ports import (
    HopRequest,
    HopResponse,
    HopStream,
    Outbound,
    OutboundRequest,
    OutboundResponse,
    ServiceHop,
)

if TYPE_CHECKING:
    from signalbox.common.transport.http_hop import HttpServiceHop
    from signalbox.common.transport.outbound import GuardedOutbound

__all__ = [
    "AllowList",
    "AsgiServiceHop",
    "DeferredHop",
    "DeferredOutbound",
    "GuardedOutbound",
    "HopError",
    "HopProtocolError",
    "HopRequest",
    "HopResponse",
    "HopStream",
    "HopTimeout",
    "HopUnreachable",
    "HttpServiceHop",
    "LifespanError",
    "LifespanManager",
    "Outbound",
    "OutboundError",
    "OutboundRefused",
    "OutboundRequest",
    "OutboundResponse",
    "OutboundTimeout",
    "OutboundTooLarge",
    "OutboundUnreachable",
    "ServiceHop",
    "lifespans",
    "load_http_client",
    "refusal",
]


def __getattr__(name: str) -> Any:
    # These two import the HTTP client: see `deferred`.
    if name == "HttpServiceHop":
        from signalbox.common.transport.http_hop import HttpServiceHop  # noqa: PLC0415

        return HttpServiceHop
    if name == "GuardedOutbound":
        from signalbox.common.transport.outbound import GuardedOutbound  # noqa: PLC0415

        return GuardedOutbound
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
