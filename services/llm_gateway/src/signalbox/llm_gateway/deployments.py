"""Deployments: which provider serves a model, under which name, with which limits of time and ability."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from signalbox.common.errors import SignalboxError
from signalbox.common.secrets import Secret, SecretStore, secret_name
from signalbox.contracts.identity import DEFAULT_TENANT
from signalbox.llm_gateway.errors import BadDeployment
from signalbox.llm_gateway.protocol import COMMON_EXTENSIONS, Extension, Extensions
from signalbox.llm_gateway.rates import PriceSpec

ANY_MODEL = "*"
"""Public name of a deployment that serves every model which no other one names."""

DEMO_MODEL = "demo"
OPENAI_URL = "https://api.openai.com/v1"

_COMPATIBLE_URLS = {
    "openai": OPENAI_URL,
    "deepseek": "https://api.deepseek.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "xai": "https://api.x.ai/v1",
}
"""Providers whose own API is OpenAI's, with its published base URL."""

_COMPATIBLE_LOCAL = frozenset({"openai-compatible", "ollama", "vllm"})

_ALL_EXTENSIONS: Extensions = frozenset(get_args(Extension)) - {"cache_marks"}
_EXTENSIONS: dict[str, Extensions] = {
    "vllm": COMMON_EXTENSIONS | {"top_k"},
    "openrouter": COMMON_EXTENSIONS | {"top_k", "cache_control"},
    **dict.fromkeys(("anthropic", "bedrock", "vertex_ai", "azure_ai", "gemini"), _ALL_EXTENSIONS),
}
"""What providers take beyond OpenAI's own API. Sources: vLLM, "OpenAI-compatible server", extra parameters;
OpenRouter, "API parameters" and "Prompt caching"; litellm translates for the rest, which serve Anthropic's models
or have the same notions."""

UpstreamKind = Literal["openai", "litellm", "demo"]
"""Which of our upstreams calls a provider."""

KeyRef = Annotated[
    str, StringConstraints(pattern=r"^(secret:[A-Za-z0-9][A-Za-z0-9._/-]*|env:[A-Za-z_][A-Za-z0-9_]*)$")
]
"""``secret:NAME``, or ``env:NAME`` for an environment variable; never the value."""


class _Setting(BaseModel):
    """Part of a deployment's settings: a misspelt name is an error, and no value is printed in one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Capabilities(_Setting):
    """What a model can do; null: not known, and assumed until the provider says otherwise."""

    chat: bool = True
    tools: bool | None = None
    json_mode: bool | None = Field(default=None, validation_alias=AliasChoices("json", "json_mode"))
    """Whether ``response_format`` is obeyed."""
    embeddings: bool | None = None
    stream_usage: bool = True
    """Whether the provider accepts ``stream_options.include_usage``; without it streamed tokens are estimated."""
    cache_marks: bool | None = None
    """Whether the provider keeps a prompt only as far as marks (``cache_control``) say; null: as is known of it."""


class DeploymentLimits(_Setting):
    """How much of a deployment all callers together may use; beyond, another deployment of the model is asked."""

    requests: int | None = Field(default=None, ge=1)
    """Attempts that may begin in a window."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens in a window: input, and what the answer may have until it is known what it had."""
    parallel: int | None = Field(default=None, ge=1)
    """Attempts at a time."""
    window_s: int = Field(default=60, ge=1, le=86_400)


class Deployment(_Setting):
    """One model at one provider. Several with the same ``model`` form a group, among which a call chooses."""

    model: str = Field(min_length=1, max_length=200)
    """Name that callers use, or ``*`` for every model that no other deployment names."""
    provider: str = Field(default="openai", min_length=1, max_length=64)
    """``openai``, ``openai-compatible``, ``ollama``, ``vllm``, ``deepseek``, ``groq``, ``mistral``, ``openrouter``
    and ``xai`` speak OpenAI's protocol; any other name is litellm's."""
    upstream_model: str | None = Field(default=None, min_length=1, max_length=200)
    """The provider's name of the model; the same as ``model`` by default."""
    id: str | None = Field(default=None, min_length=1, max_length=200)
    """What ledger, logs, limits and metrics call it: ``provider/upstream_model`` by default."""
    weight: int = Field(default=1, ge=0, le=1_000_000)
    """Its share of the calls for ``model``; 0: only when no other deployment of it can be asked."""
    limits: DeploymentLimits = DeploymentLimits()
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    key: KeyRef | None = None
    headers: dict[str, str] = {}
    """Further headers for the provider; a value ``secret:NAME`` or ``env:NAME`` is looked up."""
    price: PriceSpec | str | None = None
    """Prices, or the name of another entry of the price map; none looks the model up."""
    cost: Literal["unknown"] | None = None
    """``unknown``: called under budgets too though nobody knows its price, and shown as unpriced."""
    timeout_s: float = Field(default=300, gt=0, le=3600)
    """Seconds for a whole call."""
    first_token_timeout_s: float | None = Field(default=None, gt=0)
    """Seconds until a streamed answer's first byte; none: ``timeout_s``."""
    stall_timeout_s: float = Field(default=120, gt=0)
    """Seconds between two chunks of a stream."""
    context_window: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Output tokens that an answer can have; budgets reserve them for a request without a cap of its own. None:
    what the price map says, else 4096."""
    image_tokens: int = Field(default=2500, ge=0)
    """Input tokens that are reserved for each image."""
    audio_tokens: int = Field(default=20_000, ge=0)
    """Input tokens that are reserved for each piece of audio: about ten minutes at 32 tokens a second. The larger of
    this and ``image_tokens`` is reserved for each part of another kind, such as a file or a video."""
    prefill: bool = False
    """Whether it goes on from an assistant message at the end of a chat, so that it can continue the answer of
    another deployment whose stream broke."""
    capabilities: Capabilities = Capabilities()

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.provider in _COMPATIBLE_LOCAL and self.base_url is None:
            raise ValueError(f"provider '{self.provider}' needs a base_url")
        if self.model == ANY_MODEL and self.upstream_model is not None:
            raise ValueError("a deployment of every model ('*') cannot have an upstream_model")
        if self.cost is not None and self.price is not None:
            raise ValueError("a deployment has a price or 'cost: unknown', not both")
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which works out for itself what follows from its fields."""
        copied = super().model_copy(update=update, deep=deep)
        for name in _WORKED_OUT:
            copied.__dict__.pop(name, None)
        return copied

    # Each call asks for all of these, some of them several times.

    @cached_property
    def kind(self) -> UpstreamKind:
        """Which of our upstreams calls it."""
        if self.provider == DEMO_MODEL:
            return "demo"
        compatible = self.provider in _COMPATIBLE_URLS or self.provider in _COMPATIBLE_LOCAL
        return "openai" if compatible else "litellm"

    @cached_property
    def url(self) -> str | None:
        """Base URL without a slash at its end; None leaves it to litellm."""
        url = self.base_url or _COMPATIBLE_URLS.get(self.provider)
        return None if url is None else url.rstrip("/")

    @cached_property
    def provider_model(self) -> str:
        """The provider's name of the model."""
        return self.upstream_model or self.model

    @cached_property
    def extensions(self) -> Extensions:
        """What requests that the gateway writes may hold beyond OpenAI's own API.

        OpenAI itself takes ``max_completion_tokens`` for every model, ``max_tokens`` not for those that reason.
        """
        if self.provider == "openai" and self.url == OPENAI_URL:
            return frozenset()
        known = _EXTENSIONS.get(self.provider, COMMON_EXTENSIONS)
        return known | {"cache_marks"} if self._wants_marks else known

    @property
    def _wants_marks(self) -> bool:
        """Anthropic's models, wherever they are served; the others keep prompts by themselves."""
        if self.capabilities.cache_marks is not None:
            return self.capabilities.cache_marks
        if self.provider == "anthropic":
            return True
        return (
            "cache_control" in _EXTENSIONS.get(self.provider, ()) and "claude" in self.provider_model.lower()
        )

    @cached_property
    def name(self) -> str:
        """How ledger, logs and errors call it."""
        return self.id or f"{self.provider}/{self.provider_model}"

    def serving(self, model: str) -> "Deployment":
        """This deployment for a model that it serves by ``*``."""
        return self.model_copy(update={"model": model}) if self.model == ANY_MODEL else self


_WORKED_OUT = tuple(name for name, value in vars(Deployment).items() if isinstance(value, cached_property))


class Credentials:
    """Looks up keys of providers at the moment of a call. They belong to the operator, not to a tenant."""

    def __init__(self, secrets: SecretStore, environment: dict[str, str]) -> None:
        self._secrets = secrets
        self._environment = environment

    async def key(self, deployment: Deployment) -> Secret | None:
        """The deployment's key.

        Raises:
            BadDeployment: the reference leads nowhere.
        """
        return None if deployment.key is None else await self._resolve(deployment.key, deployment)

    async def headers(self, deployment: Deployment) -> dict[str, str]:
        """The deployment's own headers with references replaced. Raises as ``key`` does."""
        return {
            name: (await self._resolve(value, deployment)).reveal() if _is_reference(value) else value
            for name, value in deployment.headers.items()
        }

    async def _resolve(self, reference: str, deployment: Deployment) -> Secret:
        if reference.startswith("env:"):
            value = self._environment.get(reference.removeprefix("env:"))
            if not value:
                raise BadDeployment(
                    f"Deployment '{deployment.name}' reads its key from the environment variable "
                    f"{reference.removeprefix('env:')}, which is not set."
                )
            return Secret(value)
        try:
            return await self._secrets.get(DEFAULT_TENANT, secret_name(reference))
        except SignalboxError as error:
            raise BadDeployment(f"Deployment '{deployment.name}' has no key. {error.detail}") from error


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("secret:", "env:"))
