"""The gateway's HTTP interface, OpenAI-compatible: ``base_url=http://host/llm/v1``."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from signalbox.common.ids import now_ms
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import ModelInfo, ModelList, UsageReport
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.errors import ModelNotFound
from signalbox.llm_gateway.front import ModelFront, ModelRequest
from signalbox.llm_gateway.leaving import while_client_stays
from signalbox.llm_gateway.openai_http import OpenAIRoute, RequiresModels, model_response
from signalbox.llm_gateway.ports import Ledger

_DAY_MS = 86_400_000

router = APIRouter(prefix="/llm/v1", tags=["models"], route_class=OpenAIRoute)

Models = Annotated[Principal, Depends(RequiresModels())]


async def model_calls(request: Request) -> ModelCalls:
    """The service behind the calls."""
    calls: ModelCalls = request.app.state.model_calls
    return calls


async def model_front(request: Request) -> ModelFront:
    """What answers the calls that this module passes on as they came."""
    front: ModelFront = request.app.state.model_front
    return front


async def model_catalog(request: Request) -> Catalog:
    """The models that there are."""
    catalog: Catalog = request.app.state.catalog
    return catalog


async def usage_ledger(request: Request) -> Ledger:
    """The ledger."""
    ledger: Ledger = request.app.state.ledger
    return ledger


def _body(*required: str) -> dict[str, Any]:
    """The OpenAPI description of a body that is passed on as it came."""
    properties = {"model": {"type": "string", "description": "A name that GET /llm/v1/models lists."}}
    schema = {"type": "object", "required": ["model", *required], "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/chat/completions", response_class=Response, openapi_extra=_body("messages"))
async def chat_completions(
    request: Request, principal: Models, front: Annotated[ModelFront, Depends(model_front)]
) -> Response:
    """A chat completion, as OpenAI's API defines it: plain or streamed, with tools and structured output.

    Fields that the gateway does not know go to the provider. The answer's headers name the ledger row
    (``signalbox-llm-call-id``) and, where the model has a price, the cost (``signalbox-llm-cost``).
    """
    asked = ModelRequest("chat/completions", principal, request.headers, await request.body())
    return model_response(await while_client_stays(request.receive, front.answer(asked)))


@router.post("/embeddings", response_class=Response, openapi_extra=_body("input"))
async def embeddings(
    request: Request, principal: Models, front: Annotated[ModelFront, Depends(model_front)]
) -> Response:
    """Embeddings, as OpenAI's API defines them."""
    asked = ModelRequest("embeddings", principal, request.headers, await request.body())
    return model_response(await while_client_stays(request.receive, front.answer(asked)))


@router.get("/models")
async def list_models(principal: Models, catalog: Annotated[Catalog, Depends(model_catalog)]) -> ModelList:
    """The models that the key may call, the default model of each role, and why it is that one."""
    models = await catalog.listing()
    return models.model_copy(update={"data": [info for info in models.data if principal.may_call(info.id)]})


@router.get("/models/{model:path}")
async def get_model(
    model: str, principal: Models, catalog: Annotated[Catalog, Depends(model_catalog)]
) -> ModelInfo:
    """One model that the key may call."""
    for info in (await catalog.listing()).data:
        if info.id == model and principal.may_call(model):
            return info
    raise ModelNotFound(f"There is no model '{model}'; GET /llm/v1/models lists them.")


@router.get("/usage")
async def usage(
    principal: Models,
    ledger: Annotated[Ledger, Depends(usage_ledger)],
    days: Annotated[int, Query(ge=1, le=366, description="Days back from now.")] = 30,
) -> UsageReport:
    """The tenant's calls, tokens and cost by day (UTC) and model, from the ledger."""
    since = now_ms() - days * _DAY_MS
    return UsageReport(since=since, lines=await ledger.usage(principal.tenant, since))
