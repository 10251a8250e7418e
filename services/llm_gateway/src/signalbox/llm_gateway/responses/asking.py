"""Asks a model for the answer of a response."""

from typing import Any

from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.errors import ProviderRefused
from signalbox.llm_gateway.responses.request import ResponsesRequest

Json = dict[str, Any]

_TOO_LONG = "context_length_exceeded"
_MAX_TRUNCATIONS = 8


class Asking:
    """Calls a model with the items of a conversation."""

    def __init__(self, calls: ModelCalls) -> None:
        self._calls = calls

    async def ask(
        self, request: ResponsesRequest, context: list[Json], caller: Caller, *, stream: bool
    ) -> WholeAnswer | StreamedAnswer:
        """The chat answer to a request that continues ``context``.

        With ``truncation: auto``, what is too long for the model is asked again without the older half of what came
        before the last message of the user, each time a call of its own.

        Raises as ``ModelCalls.chat`` does.
        """
        items = [*context, *request.items]
        for _ in range(_MAX_TRUNCATIONS):
            try:
                return await self._calls.chat(request.chat(items, stream=stream), caller)
            except ProviderRefused as error:
                shorter = truncated(items)
                if not request.truncates or error.problem().code != _TOO_LONG or shorter is None:
                    raise
                items = shorter
        return await self._calls.chat(request.chat(items, stream=stream), caller)


def truncated(items: list[Json]) -> list[Json] | None:
    """``items`` without the older half of those before the last message of the user; None when there are none.

    Results of functions whose call is gone go too: no model takes one without the other.
    """
    last = max(
        (place for place, item in enumerate(items) if item["type"] == "message" and item["role"] == "user"),
        default=0,
    )
    if last == 0:
        return None
    kept = items[(last + 1) // 2 :]
    called = {item["call_id"] for item in kept if item["type"] == "function_call"}
    return [item for item in kept if item["type"] != "function_call_output" or item["call_id"] in called]
