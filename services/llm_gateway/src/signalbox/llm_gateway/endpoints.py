"""The gateway's HTTP interface, OpenAI-compatible: ``base_url=http://host/llm/v1``."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from signalbox.common.auth import Requires
from signalbox.common.errors import Forbidden
from signalbox.common.ids import now_ms
from signalbox.contracts.identity import Principal, Scope, key_id_of
from signalbox.contracts.llm import CorrectedUsage, CorrectUsageRequest, ModelInfo, ModelList, UsageReport
from signalbox.llm_gateway.caching.idempotency import IdempotentCalls
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.errors import CallNotFound, ModelNotFound
from signalbox.llm_gateway.front import ModelFront, ModelRequest
from signalbox.llm_gateway.leaving import while_client_stays
from signalbox.llm_gateway.openai_http import MODEL_ANSWERS, OpenAIRoute, RequiresModels, model_response
from signalbox.llm_gateway.rates import PICO
from signalbox.llm_gateway.records import Purpose
from signalbox.llm_gateway.usage import Correction, Dimension, Usage, UsageQuery

_DAY_MS = 86_400_000
_SEES_ALL = (Scope.CONFIG_READ, Scope.KEYS_WRITE)
"""Who may see what others of the tenant use."""

_DAY_AND_MODEL: list[Dimension] = ["day", "model"]

router = APIRouter(prefix="/llm/v1", tags=["models"], route_class=OpenAIRoute)

Models = Annotated[Principal, Depends(RequiresModels())]


async def model_calls(request: Request) -> ModelCalls:
    """The service behind the calls."""
    calls: ModelCalls = request.app.state.model_calls
    return calls


async def idempotent_calls(request: Request) -> IdempotentCalls:
    """What makes calls once for their Idempotency-Key."""
    calls: IdempotentCalls = request.app.state.idempotent_calls
    return calls


Once = Annotated[IdempotentCalls, Depends(idempotent_calls)]


async def model_front(request: Request) -> ModelFront:
    """What answers the calls that this module passes on as they came."""
    front: ModelFront = request.app.state.model_front
    return front


async def model_catalog(request: Request) -> Catalog:
    """The models that there are."""
    catalog: Catalog = request.app.state.catalog
    return catalog


async def usage_reports(request: Request) -> Usage:
    """The ledger in sums."""
    reports: Usage = request.app.state.usage
    return reports


def _body(*required: str) -> dict[str, Any]:
    """The OpenAPI description of a body that is passed on as it came."""
    properties = {"model": {"type": "string", "description": "A name that GET /llm/v1/models lists."}}
    schema = {"type": "object", "required": ["model", *required], "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/chat/completions",
    response_class=Response,
    responses=MODEL_ANSWERS,
    openapi_extra=_body("messages"),
)
async def chat_completions(
    request: Request, principal: Models, front: Annotated[ModelFront, Depends(model_front)]
) -> Response:
    """A chat completion, as OpenAI's API defines it: plain or streamed, with tools and structured output.

    Fields that the gateway does not know go to the provider. The answer's headers name the ledger row
    (``signalbox-llm-call-id``) and, where the model has a price, the cost (``signalbox-llm-cost``).
    """
    asked = ModelRequest("chat/completions", principal, request.headers, await request.body())
    return model_response(await while_client_stays(request.receive, front.answer(asked)))


@router.post("/embeddings", response_class=Response, responses=MODEL_ANSWERS, openapi_extra=_body("input"))
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
    reports: Annotated[Usage, Depends(usage_reports)],
    days: Annotated[int, Query(ge=1, le=366, description="Days back from now.")] = 30,
    by: Annotated[list[Dimension], Query(description="What is summed up apart.")] = _DAY_AND_MODEL,
    model: Annotated[str | None, Query(max_length=200, description="Only calls of this model.")] = None,
    key: Annotated[str | None, Query(max_length=200, description="Only of this key, by its id.")] = None,
    workflow: Annotated[str | None, Query(max_length=200, description="Only of this workflow.")] = None,
    purpose: Annotated[Purpose | None, Query(description="Only for this purpose.")] = None,
) -> UsageReport:
    """Calls, tokens and cost, from the ledger, corrections included.

    Of the whole tenant for who may read its config or manage its keys, else of the caller's own calls.
    """
    own = None if any(principal.may(scope) for scope in _SEES_ALL) else principal.subject
    if own is not None and key not in {None, key_id_of(own)}:
        raise Forbidden(
            f"Usage of other keys needs the scope '{Scope.CONFIG_READ}' or '{Scope.KEYS_WRITE}'.",
            pointer="/key",
        )
    since = now_ms() - days * _DAY_MS
    query = UsageQuery(principal.tenant, since, tuple(dict.fromkeys(by)), model, key, workflow, purpose, own)
    return UsageReport(since=since, lines=await reports.lines(query))


@router.post("/usage/corrections", status_code=201)
async def correct_usage(
    principal: Annotated[Principal, Depends(Requires(Scope.KEYS_WRITE))],
    body: CorrectUsageRequest,
    reports: Annotated[Usage, Depends(usage_reports)],
) -> CorrectedUsage:
    """Say that a call cost more, or less, than its row in the ledger says: the row stays, and sums have both."""
    correction = Correction(
        tenant=principal.tenant,
        call_id=body.call_id,
        cost_pico=int(body.cost * PICO),
        currency=body.currency,
        reason=body.reason,
        created_by=principal.subject,
        created_at=now_ms(),
    )
    added = await reports.correct(correction)
    if added is None:
        raise CallNotFound(f"There is no call '{body.call_id}' in the ledger.")
    return CorrectedUsage(correction_id=added)
