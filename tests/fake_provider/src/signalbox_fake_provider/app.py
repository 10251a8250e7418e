"""The provider's HTTP interface: the OpenAI endpoints, and those that script and inspect it."""

from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from signalbox_fake_provider.answers import StreamedAnswer, answer_whole
from signalbox_fake_provider.completion import complete
from signalbox_fake_provider.embeddings import embeddings_body
from signalbox_fake_provider.exchange import Exchange, run
from signalbox_fake_provider.faults import Fault, FaultKind
from signalbox_fake_provider.fields import ScriptError
from signalbox_fake_provider.records import Journal
from signalbox_fake_provider.script import Request, Rule, Script

DEFAULT_MODELS = ("fake-model", "fake-small", "fake-embedding")
_MODELS_SINCE = 1_700_000_000


class ProviderState:
    """What one provider knows: its script, its models and its journal."""

    def __init__(self, script: Script, models: tuple[str, ...] = DEFAULT_MODELS) -> None:
        """Start with ``script``, to which a reset returns."""
        self._first = script.rules
        self.script = script
        self.models = models
        self.journal = Journal()

    def reset(self) -> None:
        """Forget the requests and take the first script again, unused."""
        self.script = Script(self._first)
        self.journal.forget()


class OpenAIEndpoint:
    """An endpoint of the OpenAI protocol as an ASGI application."""

    def __init__(self, name: str, state: ProviderState) -> None:
        """Answer as ``name``: chat, embeddings or models."""
        self._name = name
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request, choose a rule, answer; the journal has it from the moment it was read."""
        http = HttpRequest(scope, receive)
        data = await http.body()
        headers = dict(http.headers)
        body, problem = _parse(data) if scope["method"] == "POST" else ({}, None)
        shown = body if problem is None else data.decode(errors="replace")
        record = self._state.journal.begin(scope["method"], scope["path"], headers, shown)
        exchange = Exchange(scope, receive, send, record)
        request = Request(self._name, headers, body)
        await run(exchange, self._state.journal, lambda: self._answered(exchange, request, problem))

    async def _answered(self, exchange: Exchange, request: Request, problem: Fault | None) -> None:
        """Answer, or refuse what has the wrong shape inside, as providers do."""
        try:
            rule = Rule(fault=problem) if problem else self._state.script.select(request)
            exchange.record.rule = rule.name if rule else ""
            await self._answer(exchange, request, rule)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            if exchange.record.status is not None:
                raise
            message = f"the request has a value of the wrong kind ({type(error).__name__})"
            await exchange.whole(400, {"error": {"message": message, "type": "invalid_request_error"}})

    async def _answer(self, exchange: Exchange, request: Request, rule: Rule | None) -> None:
        if self._name == "models":
            await answer_whole(exchange, rule, self._models())
        elif self._name == "embeddings":
            await answer_whole(exchange, rule, embeddings_body(request.body))
        else:
            completion = complete(request, rule, exchange.record.id)
            if request.stream:
                asked = (request.body.get("stream_options") or {}).get("include_usage") is True
                await StreamedAnswer(exchange, rule, completion, include_usage=asked).send()
            else:
                await answer_whole(exchange, rule, completion.body())

    def _models(self) -> dict[str, Any]:
        data = [
            {"id": name, "object": "model", "created": _MODELS_SINCE, "owned_by": "signalbox-fake-provider"}
            for name in self._state.models
        ]
        return {"object": "list", "data": data}


def _parse(data: bytes) -> tuple[dict[str, Any], Fault | None]:
    """The body of a request, and the error to answer when it is no JSON object with a model."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}, _bad_request("the body of the request is no JSON")
    if not isinstance(body, dict):
        return {}, _bad_request("the body of the request must be a JSON object")
    if not body.get("model"):
        return body, _bad_request("the request must name a model")
    return body, None


def _bad_request(message: str) -> Fault:
    return Fault(FaultKind.STATUS, status=400, message=message)


def create_app(state: ProviderState) -> Starlette:
    """The application that serves ``state``."""

    async def put_script(request: HttpRequest) -> JSONResponse:
        try:
            state.script = Script.from_text((await request.body()).decode())
        except (ScriptError, UnicodeDecodeError) as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return JSONResponse({"rules": len(state.script.rules)})

    async def get_script(_request: HttpRequest) -> JSONResponse:
        rules = zip(state.script.rules, state.script.uses, strict=True)
        return JSONResponse({"rules": [{"name": rule.name, "uses": uses} for rule, uses in rules]})

    async def get_requests(request: HttpRequest) -> JSONResponse:
        return JSONResponse(state.journal.snapshot(int(request.query_params.get("after", "0"))))

    async def reset(_request: HttpRequest) -> JSONResponse:
        state.reset()
        return JSONResponse({"reset": True})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", OpenAIEndpoint("chat", state), methods=["POST"]),
            Route("/v1/embeddings", OpenAIEndpoint("embeddings", state), methods=["POST"]),
            Route("/v1/models", OpenAIEndpoint("models", state), methods=["GET"]),
            Route("/_control/script", put_script, methods=["POST"]),
            Route("/_control/script", get_script, methods=["GET"]),
            Route("/_control/requests", get_requests, methods=["GET"]),
            Route("/_control/reset", reset, methods=["POST"]),
        ]
    )
