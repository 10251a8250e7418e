"""The fast lane: HTTP for the two busiest routes without a framework, and for nothing else.

A request that is at all unusual (another route or method, HTTP/1.0, ``Expect``, ``Upgrade``, a chunked body, a second
request before the first is answered, a credential, length, time or host that is not good) goes to the ASGI app on the
same connection, which answers as it always does. So the lane decides only what it is sure of, and refuses nothing.
"""

from signalbox.llm_gateway.lane.making import Lane
from signalbox.llm_gateway.lane.metrics import LaneCounter
from signalbox.llm_gateway.lane.patience import Patience

__all__ = ["Lane", "LaneCounter", "Patience"]
