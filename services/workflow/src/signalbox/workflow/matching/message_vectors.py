"""A message's vector, where the model in the role ``embed`` makes it: within a moment, or not at all."""

import asyncio
import logging
from collections.abc import Sequence

from signalbox.common.clients import CallLabels
from signalbox.common.errors import SignalboxError
from signalbox.workflow.matching.example_matcher import VectorOf
from signalbox.workflow.matching.gateway_vectors import PURPOSE, GatewayVectors
from signalbox.workflow.matching.incoming import Incoming

_LOG = logging.getLogger(__name__)

_PATIENCE_S = 1.0
"""Words decide within a millisecond: no message waits longer for a better judgement of theirs."""


class MessageVectors:
    """Asks for the vectors of messages; a model that does not give one is said once, until it does again."""

    def __init__(self, vectors: GatewayVectors, patience_s: float = _PATIENCE_S) -> None:
        self._vectors = vectors
        self._patience_s = patience_s
        self._failing = False

    def of(self, incoming: Incoming) -> VectorOf:
        """Makes vectors for the turn of a message; what they cost is in ``incoming.paid``."""

        async def vector(model: str, text: str) -> Sequence[float] | None:
            if await incoming.allowance.refusal() is not None:
                return None
            context = incoming.context
            labels = CallLabels(
                f"{context.turn_id}/embed/{len(incoming.paid)}",
                session_id=context.session_id,
                workflow_id=context.workflow_id,
                purpose=PURPOSE,
                user_id=context.user_id or "",
            )
            try:
                async with asyncio.timeout(self._patience_s):
                    made = await self._vectors.encode(model, [text], incoming.principal, labels)
            except (SignalboxError, TimeoutError) as error:
                self._note(failing=True, model=model, reason=str(error) or "no answer in time")
                return None
            self._note(failing=False, model=model)
            incoming.paid.extend(made.usage)
            return made.rows[0]

        return vector

    def _note(self, *, failing: bool, model: str, reason: str = "") -> None:
        if failing != self._failing:
            self._failing = failing
            _LOG.warning(
                f"messages are compared by words alone: {model} gives no vectors: {reason}"
                if failing
                else f"{model} gives vectors again"
            )
