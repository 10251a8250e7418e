"""The deployments that settings amount to."""

from signalbox.common.settings import SettingsError
from signalbox.llm_gateway.deployments import ANY_MODEL, OPENAI_URL, Capabilities, Credentials, Deployment
from signalbox.llm_gateway.discovery import CompatibleSource, OllamaSource
from signalbox.llm_gateway.ports import JsonFetch, ModelSource
from signalbox.llm_gateway.routing.rules import ModelRoute, wrong_routes
from signalbox.llm_gateway.settings import GatewaySettings

OPENAI_KEY_VARIABLE = "OPENAI_API_KEY"
_CHAT_MODELS = ("gpt-4.1-mini", "gpt-4o-mini")
_EMBEDDING_MODEL = "text-embedding-3-small"


def declared_deployments(settings: GatewaySettings) -> list[Deployment]:
    """The operator's deployments, then what ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL`` offer.

    OpenAI's own models are not listed by a call: small ones are named here, which play the roles, and every
    other name is passed on.
    """
    declared = settings.deployments()
    url = settings.openai_base_url.rstrip("/")
    if settings.openai_api_key is None and url == OPENAI_URL:
        return declared
    key = None if settings.openai_api_key is None else f"env:{OPENAI_KEY_VARIABLE}"
    every = Deployment(model=ANY_MODEL, base_url=url, key=key)
    if url != OPENAI_URL:
        return [*declared, every]
    chat = Capabilities(tools=True, json_mode=True, embeddings=False)
    named = [every.model_copy(update={"model": name, "capabilities": chat}) for name in _CHAT_MODELS]
    embeds = Capabilities(chat=False, embeddings=True)
    embedding = every.model_copy(update={"model": _EMBEDDING_MODEL, "capabilities": embeds})
    return [*declared, *named, embedding, every]


def routes_for(settings: GatewaySettings, deployments: list[Deployment]) -> list[ModelRoute]:
    """The operator's rules of routing.

    Raises:
        SettingsError: they name models that no deployment serves; the sentence says all that is wrong.
    """
    routes = settings.model_routes()
    if wrong := wrong_routes(routes, {deployment.model for deployment in deployments}):
        raise SettingsError(f"The routing of models cannot be used: {'; '.join(wrong)}")
    return routes


def sources_of(deployments: list[Deployment], http: JsonFetch, credentials: Credentials) -> list[ModelSource]:
    """The servers to be asked for their models: those offered whole, except OpenAI's own."""
    return [
        CompatibleSource(http, credentials, deployment)
        for deployment in deployments
        if deployment.model == ANY_MODEL and deployment.kind == "openai" and deployment.url != OPENAI_URL
    ]


def local_source(settings: GatewaySettings, http: JsonFetch) -> ModelSource | None:
    """The Ollama on this machine, unless the settings say not to look for one."""
    return OllamaSource(http, settings.ollama_url) if settings.ollama_url else None
