"""The chunks of a chat stream, read from its bytes."""

from collections.abc import AsyncGenerator
from typing import Any

import orjson

from signalbox.llm_gateway.answers import StreamedAnswer
from signalbox.llm_gateway.errors import ProviderBroke, ProviderRefused
from signalbox.llm_gateway.protocol import EventBlocks, data_of

Json = dict[str, Any]


async def chat_chunks(answer: StreamedAnswer) -> AsyncGenerator[list[Json], None]:
    """The chunks, as many at a time as came together.

    The stream is read to its end, also after ``[DONE]``: so the provider's connection is kept.

    Raises:
        ProviderRefused: the stream ended with an error.
        ProviderBroke: it ended before the answer was whole.
    """
    blocks = EventBlocks()
    done = False
    async for piece in answer:
        chunks = []
        error: Json | None = None
        for data in map(data_of, blocks.feed(piece)):
            if data is None or done or error is not None:
                continue
            if data == b"[DONE]":
                done = True
                continue
            chunk = orjson.loads(data)
            if isinstance(chunk, dict) and isinstance(chunk.get("error"), dict):
                error = chunk["error"]
            elif isinstance(chunk, dict):
                chunks.append(chunk)
        if chunks:
            yield chunks
        if error is not None:
            raise _failure(error)
    if not done:
        raise ProviderBroke("The answer ended before it was whole; try again.")


def _failure(error: Json) -> ProviderRefused:
    message = str(error.get("message") or "The answer broke off; try again.")
    code, kind, param = (error.get(name) for name in ("code", "type", "param"))
    return ProviderRefused(
        502, message, provider_code=code and str(code), kind=kind and str(kind), param=param and str(param)
    )
