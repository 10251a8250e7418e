"""Sentence vectors of a model that the LLM Gateway calls: the second view of examples where a workflow declares one."""

import math
from array import array
from collections.abc import Sequence

from signalbox.common.clients import CallLabels, GatewayClient
from signalbox.common.record import record
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal

_AT_ONCE = 128
"""Texts in one call; providers take some hundreds."""
PURPOSE = "embedding"


def identity_of(model: str) -> str:
    """What a classifier calls the encoder that it was trained with."""
    return f"gateway:{model}"


@record
class Vectors:
    """Vectors of length one, of 32-bit floats, in the order of their texts, and what they cost."""

    rows: "list[array[float]]"
    usage: tuple[UsageData, ...]


class GatewayVectors:
    """Asks the gateway."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway

    async def encode(
        self, model: str, texts: Sequence[str], principal: Principal, labels: CallLabels
    ) -> Vectors:
        """A vector for each text.

        Raises:
            SignalboxError: the gateway or the provider failed.
        """
        rows: list[array[float]] = []
        usage: list[UsageData] = []
        for number, start in enumerate(range(0, len(texts), _AT_ONCE)):
            part = texts[start : start + _AT_ONCE]
            own = labels.numbered(number)
            embedded = await self._gateway.embed(model, part, principal, own)
            rows += [_of_length_one(vector) for vector in embedded.vectors]
            usage.append(embedded.usage)
        return Vectors(rows, tuple(usage))


def _of_length_one(vector: Sequence[float]) -> "array[float]":
    length = math.sqrt(sum(number * number for number in vector)) or 1.0
    return array("f", [number / length for number in vector])
