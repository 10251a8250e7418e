"""What the FAQ says about a question: full text on SQLite or PostgreSQL, joined with embeddings where set up."""

import asyncio
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from signalbox_example_shop.faq_entries import FAQ, FaqEntry
from signalbox_example_shop.models import FaqPassage
from signalbox_example_shop.search import match_expression

_LOG = logging.getLogger(__name__)

Language = Literal["en", "zh"]
Vector = Sequence[float]

# Reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009): places count, as scores of two kinds cannot be
# added. 60 is the constant of the paper.
_RANK_OFFSET = 60
# An entry this far from the question says nothing about it, wherever it stands in the order.
_LEAST_LIKENESS = 0.3
_CANDIDATES = 20
_RETRY_S = 30.0


class FullText(Protocol):
    """Finds entries by the words, or the pairs of Chinese characters, that they share with a question."""

    async def search(self, query: str, language: Language, limit: int) -> list[str]:
        """Return the ids of entries in `language`, the best match first."""
        ...

    async def close(self) -> None:
        """Let go of what is held open."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors that lie close together where the texts mean the same."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector for each text. Raises `EmbeddingsError`."""
        ...

    async def close(self) -> None:
        """Let go of what is held open."""
        ...


class EmbeddingsError(RuntimeError):
    """No vectors could be had."""


class SqliteFullText:
    """FTS5 with its BM25, in the shop's own file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Search over `connection`, which stays its owner's to close."""
        self._connection = connection

    async def search(self, query: str, language: Language, limit: int) -> list[str]:
        """Return the ids of entries that share a term with `query`."""
        expression = match_expression(query)
        if expression is None:
            return []
        rows = self._connection.execute(
            "SELECT faq_id FROM faq_index WHERE faq_index MATCH ? AND language = ?"
            " ORDER BY bm25(faq_index), faq_id LIMIT ?",
            (expression, language, limit),
        )
        return [row["faq_id"] for row in rows]

    async def close(self) -> None:
        """Do nothing: the connection is the shop's."""


@dataclass(slots=True)
class Faq:
    """The retriever. Without an `embedder`, or while it fails, full text alone decides."""

    full_text: FullText
    embedder: Embedder | None = None
    clock: Callable[[], float] = time.monotonic
    _vectors: dict[tuple[str, str], Vector] = field(default_factory=dict)
    _tired_until: float = -math.inf
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def search(self, query: str, language: Language, limit: int) -> list[FaqPassage]:
        """Return the entries in `language` that fit `query`, the best first."""
        orders = [await self.full_text.search(query, language, _CANDIDATES)]
        if self.embedder is not None and query.strip():
            orders.append(await self._by_meaning(self.embedder, query, language))
        return [_passage(_ENTRIES[faq_id, language]) for faq_id in fused(orders)[:limit]]

    async def close(self) -> None:
        """Let go of what is held open."""
        await self.full_text.close()
        if self.embedder is not None:
            await self.embedder.close()

    async def _by_meaning(self, embedder: Embedder, query: str, language: Language) -> list[str]:
        if self.clock() < self._tired_until:
            return []
        try:
            await self._learn(embedder)
            (asked,) = await embedder.embed([query])
        except EmbeddingsError as error:
            _LOG.warning("no embeddings, full text alone answers: %s", error)
            self._tired_until = self.clock() + _RETRY_S
            return []
        likeness = {
            faq_id: cosine(asked, vector) for (faq_id, of), vector in self._vectors.items() if of == language
        }
        near = [faq_id for faq_id, value in likeness.items() if value >= _LEAST_LIKENESS]
        return sorted(near, key=lambda faq_id: (-likeness[faq_id], faq_id))[:_CANDIDATES]

    async def _learn(self, embedder: Embedder) -> None:
        """Have every entry embedded, in one call, when embeddings are first wanted.

        Not at the start: the shop starts before the gateway that it asks. So few vectors are kept in memory only.
        """
        async with self._lock:
            if not self._vectors:
                found = await embedder.embed([f"{entry.question} {entry.answer}" for entry in FAQ])
                self._vectors = {
                    (entry.faq_id, entry.language): vector for entry, vector in zip(FAQ, found, strict=True)
                }


def fused(orders: Sequence[Sequence[str]]) -> list[str]:
    """Return the ids of several orders in one, those that stand high in more of them first."""
    scores: dict[str, float] = {}
    for order in orders:
        for place, faq_id in enumerate(order, 1):
            scores[faq_id] = scores.get(faq_id, 0.0) + 1 / (_RANK_OFFSET + place)
    return sorted(scores, key=lambda faq_id: (-scores[faq_id], faq_id))


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine of the angle between two vectors; 0 where one of them is nothing or they do not fit."""
    lengths = math.hypot(*one) * math.hypot(*other)
    if not lengths or len(one) != len(other):
        return 0.0
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths


def _passage(entry: FaqEntry) -> FaqPassage:
    return FaqPassage(**entry._asdict(), url=f"https://shop.example/{entry.language}/faq#{entry.faq_id}")


_ENTRIES: Mapping[tuple[str, str], FaqEntry] = {(entry.faq_id, entry.language): entry for entry in FAQ}
