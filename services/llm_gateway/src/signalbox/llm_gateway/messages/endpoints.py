"""Anthropic's Messages API: ``base_url=http://host/llm`` for the ``anthropic`` SDKs."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from signalbox.contracts import headers as names
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.endpoints import Models, Once, model_calls
from signalbox.llm_gateway.front import caller_of, repeatable
from signalbox.llm_gateway.leaving import while_client_stays
from signalbox.llm_gateway.messages.answer import whole_message
from signalbox.llm_gateway.messages.http import PREFIX, AnthropicRoute, request_id
from signalbox.llm_gateway.messages.request import MessagesRequest
from signalbox.llm_gateway.messages.stream import MessageStream
from signalbox.llm_gateway.openai_http import MODEL_ANSWERS, WHOLE, answer_response
from signalbox.llm_gateway.translation.estimates import estimated_input

router = APIRouter(prefix=PREFIX, tags=["models"], route_class=AnthropicRoute)


def _body(*required: str) -> dict[str, Any]:
    """The OpenAPI description of a body that the translator reads."""
    properties = {"model": {"type": "string", "description": "A name that GET /llm/v1/models lists."}}
    schema = {"type": "object", "required": ["model", "messages", *required], "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("", response_class=Response, responses=MODEL_ANSWERS, openapi_extra=_body("max_tokens"))
async def create_message(
    request: Request, principal: Models, calls: Annotated[ModelCalls, Depends(model_calls)], once: Once
) -> Response:
    """A message, as Anthropic's API defines it, by any model: plain or streamed, with tools and structured output.

    Fields that the gateway does not know are left out. The answer's headers are those of a chat completion, and
    ``request-id``.
    """
    raw = await request.body()
    asked = MessagesRequest.parse(raw)
    caller = caller_of(request.headers, principal)

    async def make() -> WholeAnswer | MessageStream:
        answer = await calls.chat(asked.chat, caller)
        if isinstance(answer, StreamedAnswer):
            return MessageStream(answer, asked, request_id())
        return whole_message(answer, asked)

    made = once.answer(repeatable(request.headers, caller, "messages", raw), make)
    return answer_response(await while_client_stays(request.receive, made))


@router.post(
    "/count_tokens", response_class=Response, responses={200: {"content": WHOLE}}, openapi_extra=_body()
)
async def count_tokens(request: Request, _: Models) -> Response:
    """The tokens that a message's input would have: an estimate, as the header ``signalbox-llm-estimated`` says.

    No model is called and nothing is counted against a limit.
    """
    tokens = estimated_input(MessagesRequest.parse_prompt(await request.body()))
    return Response(
        orjson.dumps({"input_tokens": tokens}),
        headers={names.LLM_ESTIMATED: "true"},
        media_type="application/json",
    )
