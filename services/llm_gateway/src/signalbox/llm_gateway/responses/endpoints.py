"""OpenAI's Responses API: ``client.responses`` with ``base_url=http://host/llm/v1``."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from signalbox.contracts import headers as names
from signalbox.llm_gateway.endpoints import Models, Once
from signalbox.llm_gateway.front import caller_of, repeatable
from signalbox.llm_gateway.leaving import while_client_stays
from signalbox.llm_gateway.openai_http import MODEL_ANSWERS, WHOLE, OpenAIRoute, answer_response
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.responses.service import Page, Responses

router = APIRouter(prefix="/llm/v1/responses", tags=["models"], route_class=OpenAIRoute)


async def responses(request: Request) -> Responses:
    """The service behind the calls."""
    service: Responses = request.app.state.responses
    return service


Service = Annotated[Responses, Depends(responses)]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "input"],
                    "properties": {
                        "model": {"type": "string", "description": "A name that GET /llm/v1/models lists."}
                    },
                }
            }
        },
    }
}


@router.post("", response_class=Response, responses=MODEL_ANSWERS, openapi_extra=_BODY)
async def create_response(request: Request, principal: Models, service: Service, once: Once) -> Response:
    """A response, as OpenAI's Responses API defines it, by any model: plain, streamed or in the background.

    It is kept for its caller (``store: false``: not), who can continue it with ``previous_response_id``. Fields that
    the gateway does not know are left out; tools that run at OpenAI are refused. The answer's headers are those of a
    chat completion, except in the background.
    """
    raw = await request.body()
    asked = ResponsesRequest.parse(raw)
    caller = caller_of(request.headers, principal)
    named = replace(repeatable(request.headers, caller, "responses", raw), goes_on=asked.background)
    made = once.answer(named, lambda: service.create(asked, caller))
    return answer_response(await while_client_stays(request.receive, made))


@router.post(
    "/input_tokens", response_class=Response, responses={200: {"content": WHOLE}}, openapi_extra=_BODY
)
async def count_input_tokens(request: Request, principal: Models, service: Service) -> Response:
    """The tokens that a response's input would have: an estimate, as the header ``signalbox-llm-estimated`` says.

    What ``previous_response_id`` names is part of it. No model is called and nothing is counted against a limit.
    """
    asked = ResponsesRequest.parse(await request.body())
    tokens = await service.estimated_input(asked, principal)
    return Response(
        orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens}),
        headers={names.LLM_ESTIMATED: "true"},
        media_type="application/json",
    )


@router.get("/{response_id}", response_model=dict[str, Any])
async def get_response(
    response_id: str,
    principal: Models,
    service: Service,
    stream: Annotated[bool, Query(description="The events of a background response instead.")] = False,
    starting_after: Annotated[
        int, Query(description="With `stream`: the number of the last event that is known.")
    ] = -1,
) -> Any:
    """A response as it is now, or the events of one in the background, while and after it is made."""
    if stream:
        return answer_response(await service.follow(principal, response_id, starting_after))
    return await service.retrieve(principal, response_id)


@router.post("/{response_id}/cancel")
async def cancel_response(response_id: str, principal: Models, service: Service) -> dict[str, Any]:
    """Cancel a response in the background, on whichever replica it runs; one that is over stays as it is."""
    return await service.cancel(principal, response_id)


@router.delete("/{response_id}")
async def delete_response(response_id: str, principal: Models, service: Service) -> dict[str, Any]:
    """Delete a response and what is kept with it; one that is being made is stopped."""
    return await service.delete(principal, response_id)


@router.get("/{response_id}/input_items")
async def list_input_items(
    response_id: str,
    principal: Models,
    service: Service,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str | None, Query(description="The id of the item before the page.")] = None,
) -> dict[str, Any]:
    """A response's own input items, not those of what it continues."""
    return await service.input_items(principal, response_id, Page(limit, order, after))
