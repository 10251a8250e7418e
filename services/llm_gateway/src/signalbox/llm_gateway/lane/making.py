"""What the lane is made of, and the protocol class that it gives to the server."""

import asyncio
from dataclasses import dataclass

from opentelemetry import trace

from signalbox.common.auth import Authenticator
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.web.hosts import OwnHosts
from signalbox.llm_gateway.front import ModelFront
from signalbox.llm_gateway.lane.metrics import LaneCounter
from signalbox.llm_gateway.lane.patience import Patience


@dataclass(slots=True)
class Lane:
    """The parts of a gateway that its lane uses; called with the hosts to answer to, it makes the protocol class."""

    front: ModelFront
    authenticator: Authenticator
    metrics: Metrics
    tracer: trace.Tracer
    max_body_bytes: int
    patience: Patience
    taken: LaneCounter

    def __call__(self, hosts: OwnHosts | None) -> type[asyncio.Protocol]:
        """A class for ``uvicorn.Config(http=...)``; with ``hosts`` requests for other names are not the lane's."""
        # An app that nobody serves (a test's, ``signalbox openapi``) needs no server.
        from signalbox.llm_gateway.lane.exchange import Answering  # noqa: PLC0415
        from signalbox.llm_gateway.lane.gate import Gate  # noqa: PLC0415
        from signalbox.llm_gateway.lane.protocol import LaneProtocol  # noqa: PLC0415

        return type(
            "Lane",
            (LaneProtocol,),
            {
                "patience": self.patience,
                "taken": self.taken,
                "gate": Gate(self.authenticator, self.max_body_bytes, hosts),
                "answering": Answering(self.front, self.metrics, self.tracer),
            },
        )
