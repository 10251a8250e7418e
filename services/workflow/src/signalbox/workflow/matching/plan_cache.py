"""Decisions of models that are kept: what was decided once about a message is not asked again.

A decision is found under the tenant and the hash of everything that the model saw, and only decisions that were made
without the conversation are kept. The message itself is not: a value that was taken from it is stored as its place in
the message, and read again on a hit. So "tomorrow" is the day after today each time, and what users write stays out
of the cache.

The cache is direct-mapped: a hash has one slot of a fixed number per tenant, and who writes to a slot replaces what
was there. That bounds it on every backend, whatever Redis would evict, without a list of what is in it.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from typing import Any

import orjson
from prometheus_client import Counter
from pydantic import ValidationError

from signalbox.common.cache import CacheUnavailable, StoredValue, Values, key
from signalbox.common.record import record
from signalbox.common.telemetry.metrics import Metrics
from signalbox.contracts.base import WireModel
from signalbox.contracts.config import Parameter

_LOG = logging.getLogger(__name__)

_KIND = "plan"
_DIGEST_BYTES = 32
_MAX_BYTES = 4096
"""A larger entry is not kept: it is no decision about a message."""


class Likely(WireModel):
    """An intent that a message may have, by its id."""

    intent: str
    confidence: float


class ModelPlan(WireModel):
    """What a model decided: intents, the best first, and the parameters that it found."""

    likely: list[Likely]
    parameters: dict[str, Any] = {}


class _Place(WireModel):
    """Where in a normalised message a value stands, in characters."""

    start: int
    end: int


class _Entry(WireModel):
    """A plan without anything of the message in it."""

    likely: list[Likely]
    places: dict[str, _Place] = {}
    lists: dict[str, list[_Place]] = {}
    literals: dict[str, str | bool] = {}
    """Values that are not the user's words: members of an enum, yes or no."""


class PlanMetrics:
    """How often a decision was found."""

    def __init__(self, metrics: Metrics) -> None:
        self._lookups = Counter(
            "signalbox_plan_cache_lookups",
            "Decisions of models looked up before a model is asked, by result: hit, miss, or error.",
            ["result"],
            registry=metrics.registry,
        )
        self._writes = Counter(
            "signalbox_plan_cache_writes",
            "Decisions of models after a miss: kept, or unkept because a value cannot be found again in its message.",
            ["result"],
            registry=metrics.registry,
        )

    def looked_up(self, result: str) -> None:
        """Count a look-up."""
        self._lookups.labels(result).inc()

    def written(self, result: str) -> None:
        """Count what became of a decision."""
        self._writes.labels(result).inc()


@record
class PlanBounds:
    """How much is kept: ``slots`` decisions per tenant (0: none) for ``ttl_ms``."""

    slots: int
    ttl_ms: int


class PlanCache:
    """Keeps decisions, shared by all replicas. A cache that fails is a miss, not an error."""

    def __init__(self, values: Values, bounds: PlanBounds, metrics: PlanMetrics) -> None:
        self._values = values
        self._bounds = bounds
        self._metrics = metrics

    async def get(self, tenant: str, seen: bytes, text: str) -> ModelPlan | None:
        """What was decided when a model saw the same; its values are read from ``text``, which it saw."""
        if not self._bounds.slots:
            return None
        digest = _digest(tenant, seen)
        try:
            stored = await self._values.get(self._key(tenant, digest))
        except CacheUnavailable as error:
            _LOG.warning("decisions are not looked up: %s", error)
            self._metrics.looked_up("error")
            return None
        plan = None if stored is None else _read(stored, digest, text)
        self._metrics.looked_up("miss" if plan is None else "hit")
        return plan

    async def put(
        self, tenant: str, seen: bytes, text: str, plan: ModelPlan, declared: Mapping[str, Parameter]
    ) -> None:
        """Keep a decision, if each of its values can be found again in the message; ``declared`` says their types."""
        if not self._bounds.slots:
            return
        entry = _without_words(plan, text, declared)
        digest = _digest(tenant, seen)
        stored = b"" if entry is None else digest + orjson.dumps(entry.model_dump(exclude_defaults=True))
        if not stored or len(stored) > _MAX_BYTES:
            self._metrics.written("unkept")
            return
        try:
            await self._values.put(StoredValue(self._key(tenant, digest), stored, self._bounds.ttl_ms))
        except CacheUnavailable as error:
            _LOG.warning("a decision is not kept: %s", error)
            return
        self._metrics.written("kept")

    def _key(self, tenant: str, digest: bytes) -> str:
        slot = int.from_bytes(digest[:8], "big") % self._bounds.slots
        return key(_KIND, tenant, str(slot))


def _digest(tenant: str, seen: bytes) -> bytes:
    return hashlib.sha256(tenant.encode() + b"\0" + seen).digest()


def _read(stored: bytes, digest: bytes, text: str) -> ModelPlan | None:
    """The plan of an entry, if it is the one that was asked for."""
    if stored[:_DIGEST_BYTES] != digest:
        return None
    try:
        entry = _Entry.model_validate_json(stored[_DIGEST_BYTES:])
    except ValidationError:
        return None
    parameters: dict[str, Any] = {**entry.literals}
    for name, place in entry.places.items():
        parameters[name] = text[place.start : place.end]
    for name, places in entry.lists.items():
        parameters[name] = [text[place.start : place.end] for place in places]
    return ModelPlan(likely=entry.likely, parameters=parameters)


def _without_words(plan: ModelPlan, text: str, declared: Mapping[str, Parameter]) -> _Entry | None:
    """The plan with places instead of values; None where a value is neither in the text nor one of the config's."""
    entry = _Entry(likely=plan.likely)
    for name, value in plan.parameters.items():
        parameter = declared.get(name)
        if value is None or parameter is None:
            continue
        if isinstance(value, bool) or (isinstance(value, str) and value in parameter.values):
            entry.literals[name] = value
        elif isinstance(value, list):
            places = [_place(str(item), text) for item in value]
            if any(place is None for place in places):
                return None
            entry.lists[name] = [place for place in places if place is not None]
        elif isinstance(value, str | int | float) and (place := _place(str(value), text)) is not None:
            entry.places[name] = place
        else:
            return None
    return entry


def _place(value: str, text: str) -> _Place | None:
    """The first place where a value stands by itself: ``12`` is not found in ``order 1042 of 1212``."""
    if not value:
        return None
    # Not inside a run of digits or of Latin letters; other scripts do not separate their words.
    before = r"(?<![0-9.,])" if value[0].isdigit() else r"(?<![A-Za-z])" if value[0].isascii() else ""
    after = r"(?![0-9])" if value[-1].isdigit() else r"(?![A-Za-z])" if value[-1].isascii() else ""
    found = re.search(before + re.escape(value) + after, text)
    return None if found is None else _Place(start=found.start(), end=found.end())
