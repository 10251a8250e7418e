"""Providers that do not speak OpenAI's protocol, through the litellm SDK, which is imported at the first such call.

Only parameters of OpenAI's API, ``thinking`` and ``top_k`` are handed to it: a caller must not reach litellm's own
(base URLs, keys, callbacks, mocks) through the body of a request.
"""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.deployments import Credentials
from signalbox.llm_gateway.errors import ProviderTimeout
from signalbox.llm_gateway.ports import UpstreamAnswer, UpstreamRequest, UpstreamStream
from signalbox.llm_gateway.protocol import DONE, event

_CHAT_PARAMETERS = frozenset(
    {
        "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "messages",
        "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort",
        "response_format", "seed", "service_tier", "stop", "stream", "stream_options", "temperature", "thinking",
        "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
    }
)  # fmt: skip
_EMBEDDING_PARAMETERS = frozenset({"dimensions", "encoding_format", "input", "user"})

_NO_TOOLS_OF_ITS_OWN = {"_skip_mcp_handler": True}
"""litellm would look among the caller's tools for MCP servers of its own, and imports its proxy to do so."""

_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
}
"""Keeps litellm from reading ``.env`` files and from fetching anything when it is imported."""


class LitellmUpstream:
    """Calls a provider by the name that litellm has for it."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._sdk: Any = None
        self._loading = asyncio.Lock()

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """See ``ports.Upstream``."""
        sdk = await self._load()
        chat = request.operation == "chat/completions"
        call = sdk.acompletion if chat else sdk.aembedding
        try:
            async with asyncio.timeout(request.timeout_s):
                answer = await call(**await self._arguments(request))
        except TimeoutError as error:
            raise _timed_out(request) from error
        except SignalboxError:
            raise
        except Exception as error:  # noqa: BLE001 - litellm raises whatever the code of a provider raises
            status, headers, body = _refusal(error)
            return UpstreamAnswer(status, headers, body)
        return UpstreamAnswer(200, {}, orjson.dumps(answer.model_dump(), default=str))

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """See ``ports.Upstream``."""
        sdk = await self._load()
        first = request.deployment.first_token_timeout_s or request.timeout_s
        try:
            async with asyncio.timeout(min(first, request.timeout_s)):
                chunks = await sdk.acompletion(**await self._arguments(request))
        except TimeoutError as error:
            raise _timed_out(request) from error
        except SignalboxError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            status, headers, body = _refusal(error)
            yield UpstreamStream(status, headers, _once(body))
            return
        try:
            yield UpstreamStream(200, {}, _events(chunks, request))
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def _arguments(self, request: UpstreamRequest) -> dict[str, Any]:
        deployment = request.deployment
        chat = request.operation == "chat/completions"
        allowed = _CHAT_PARAMETERS if chat else _EMBEDDING_PARAMETERS
        fields = orjson.loads(request.body)
        arguments = {name: value for name, value in fields.items() if name in allowed}
        key = await self._credentials.key(deployment)
        headers = await self._credentials.headers(deployment)
        return {
            **arguments,
            "model": f"{deployment.provider}/{deployment.provider_model}",
            "api_key": None if key is None else key.reveal(),
            "api_base": deployment.base_url,
            "extra_headers": headers or None,
            "timeout": request.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            **(_NO_TOOLS_OF_ITS_OWN if chat else {}),
        }

    async def _load(self) -> Any:
        async with self._loading:
            if self._sdk is None:
                self._sdk = await asyncio.to_thread(_import)
        return self._sdk


def _import() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sdk: Any = importlib.import_module("litellm")
    sdk.telemetry = False
    sdk.suppress_debug_info = True
    sdk.disable_hf_tokenizer_download = True
    return sdk


async def _events(chunks: AsyncIterator[Any], request: UpstreamRequest) -> AsyncIterator[bytes]:
    """The chunks as events; the usage, wherever a provider reports it, as the one chunk that OpenAI defines."""
    usage: Any = None
    last: dict[str, Any] = {}
    end = asyncio.get_running_loop().time() + request.timeout_s
    clock = asyncio.get_running_loop().time
    iterator = aiter(chunks)
    while True:
        try:
            async with asyncio.timeout_at(min(end, clock() + request.deployment.stall_timeout_s)):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            break
        except TimeoutError as error:
            raise _timed_out(request) from error
        except Exception as error:  # noqa: BLE001 - litellm raises whatever the code of a provider raises
            yield b"data: " + _refusal(error)[2] + b"\n\n"
            return
        last = chunk.model_dump(exclude_none=True)
        usage = last.pop("usage", None) or usage
        if last.get("choices"):
            yield event(last)
    if usage is not None:
        yield event({**last, "choices": [], "usage": usage})
    yield DONE


def _refusal(error: Exception) -> tuple[int, Mapping[str, str], bytes]:
    """A failure of litellm's as the answer that an OpenAI-compatible provider would have given."""
    status = getattr(error, "status_code", None)
    response = getattr(error, "response", None)
    headers = {str(name).lower(): str(value) for name, value in getattr(response, "headers", {}).items()}
    body = {
        "message": str(getattr(error, "message", "") or type(error).__name__),
        "type": getattr(error, "type", None),
        "code": getattr(error, "code", None),
        "param": getattr(error, "param", None),
    }
    if status == 408:
        status = 504  # litellm's own timeout; the caller's request was not late
    return (
        status if isinstance(status, int) and 400 <= status <= 599 else 502,
        headers,
        orjson.dumps({"error": body}, default=str),
    )


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _timed_out(request: UpstreamRequest) -> ProviderTimeout:
    return ProviderTimeout(f"'{request.deployment.name}' did not answer in time; allow more time.")
