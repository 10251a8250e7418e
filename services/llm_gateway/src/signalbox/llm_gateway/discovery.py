"""Servers that are asked which models they have: an Ollama on this machine, an OpenAI-compatible server.

Sources: Ollama API reference, "List local models" (``/api/tags``) and "Show model information" (``/api/show``,
whose ``capabilities`` name ``completion``, ``tools`` and ``embedding``); OpenAI API reference, "List models".
"""

import asyncio
import re
from typing import Any

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.deployments import ANY_MODEL, Capabilities, Credentials, Deployment
from signalbox.llm_gateway.ports import JsonFetch

PROBE_S = 0.3
"""An Ollama on this machine answers in milliseconds or is not there."""

_LIST_S = 5.0
_MAX_SHOWN = 20
_NO_CHAT = re.compile(
    r"embed|whisper|tts|transcri|dall-e|image|audio|realtime|moderation|rerank|\bbge\b|davinci|babbage|sora"
)
_EMBEDS = re.compile(r"embed|\bbge\b")


class OllamaSource:
    """An Ollama at ``url``."""

    def __init__(self, http: JsonFetch, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"Ollama at {self._url}"

    async def deployments(self) -> list[Deployment]:
        """Its models; see ModelSource."""
        listed = await self._http.fetch(f"{self._url}/api/tags", timeout_s=PROBE_S)
        names = [str(model["name"]) for model in _list(listed, "models") if model.get("name")]
        shown = await asyncio.gather(*(self._abilities(name) for name in names[:_MAX_SHOWN]))
        known = dict(zip(names, shown, strict=False))
        return [self._deployment(name, known.get(name)) for name in names]

    async def _abilities(self, name: str) -> set[str] | None:
        try:
            shown = await self._http.fetch(f"{self._url}/api/show", body={"model": name}, timeout_s=PROBE_S)
        except SignalboxError:
            return None
        abilities = shown.get("capabilities") if isinstance(shown, dict) else None
        return set(abilities) if isinstance(abilities, list) else None

    def _deployment(self, name: str, abilities: set[str] | None) -> Deployment:
        if abilities is None:
            capabilities = _guessed(name)
        else:
            capabilities = Capabilities(
                chat="completion" in abilities,
                tools="tools" in abilities,
                json_mode=True,
                embeddings="embedding" in abilities,
            )
        return Deployment(
            model=name, provider="ollama", base_url=f"{self._url}/v1", capabilities=capabilities
        )


class CompatibleSource:
    """An OpenAI-compatible server, given as a deployment of every model."""

    def __init__(self, http: JsonFetch, credentials: Credentials, deployment: Deployment) -> None:
        self._http = http
        self._credentials = credentials
        self._deployment = deployment

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"the server at {self._deployment.url}"

    async def deployments(self) -> list[Deployment]:
        """Its models; see ModelSource."""
        key = await self._credentials.key(self._deployment)
        headers = {} if key is None else {"authorization": f"Bearer {key.reveal()}"}
        listed = await self._http.fetch(f"{self._deployment.url}/models", headers=headers, timeout_s=_LIST_S)
        names = [str(model["id"]) for model in _list(listed, "data") if model.get("id")]
        return [
            self._deployment.model_copy(update={"model": name, "capabilities": _guessed(name)})
            for name in names
            if name != ANY_MODEL and len(name) <= 200
        ]


def _guessed(name: str) -> Capabilities:
    """What a model's name gives away."""
    lower = name.lower()
    return Capabilities(chat=_NO_CHAT.search(lower) is None, embeddings=_EMBEDS.search(lower) is not None)


def _list(answer: Any, member: str) -> list[dict[str, Any]]:
    entries = answer.get(member) if isinstance(answer, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
