"""Embeddings from a server that speaks OpenAI's protocol, such as Signalbox's own gateway (`/llm/v1`)."""

from collections.abc import Sequence

import httpx

from signalbox_example_shop.faq import EmbeddingsError, Vector

_TIMEOUT_S = 10.0


class HttpEmbedder:
    """`POST {url}/embeddings`, all texts in one request."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        """Ask the server at `url` (up to and with `/v1`) for vectors of `model`."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._model = model
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector for each text. Raises `EmbeddingsError`."""
        body = {"model": self._model, "input": list(texts)}
        try:
            reply = await self._client.post("/embeddings", json=body)
            reply.raise_for_status()
            found = sorted(reply.json()["data"], key=lambda item: int(item["index"]))
            vectors: list[Vector] = [[float(number) for number in item["embedding"]] for item in found]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EmbeddingsError(f"{type(error).__name__}: {error}") from error
        if len(vectors) != len(texts):
            raise EmbeddingsError(f"{len(vectors)} vectors came for {len(texts)} texts")
        return vectors

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
