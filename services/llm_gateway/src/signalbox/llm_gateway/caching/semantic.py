"""Answers to questions that mean the same: last messages of users that lie near each other, all else being equal.

What lies near is found among the vectors of a *namespace*: the calls of one tenant that differ in nothing but the
text of the last message. The shared cache has a log of them, which replicas read on from where they were, so a
question that one answered is soon known to all. A log is that of a period as long as an answer is kept, and takes so
many entries and no more; with the one before it, it is all that is compared.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import orjson

from signalbox.common.context import Deadline
from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.llm_gateway.answers import WholeAnswer
from signalbox.llm_gateway.caching.kept import KeptAnswers
from signalbox.llm_gateway.caching.keys import namespace_of
from signalbox.llm_gateway.caching.rules import SemanticRule
from signalbox.llm_gateway.caching.vectors import Vector, nearest
from signalbox.llm_gateway.caching.wishes import NO_WISHES
from signalbox.llm_gateway.call import Call, Caller
from signalbox.llm_gateway.protocol import RequestBody

_LOG = logging.getLogger(__name__)

EMBED_S = 2.0
"""The longest that a call waits for the vector of its question; then a model answers it."""

MAX_VECTOR_BYTES = 67_108_864
"""What the vectors that a process holds may take; the namespaces that were not used longest are forgotten."""

_KEY_SIZE_BYTES = 2

Embed = Callable[[RequestBody, Caller], Awaitable[WholeAnswer]]


@record
class Question:
    """What is asked in a call, in a form that can be compared."""

    namespace: str
    vector: Vector


@dataclass(slots=True)
class _Period:
    """The entries of a log that this process has read: vectors with the keys of their answers."""

    last: int = 0
    entries: list[tuple[Vector, str]] = field(default_factory=list)
    size: int = 0


class SemanticAnswers:
    """Finds answers by what a question means. ``clock`` gives epoch milliseconds."""

    def __init__(self, kept: KeptAnswers, embed: Embed, clock: Callable[[], int]) -> None:
        self._kept = kept
        self._embed = embed
        self._clock = clock
        self._periods: OrderedDict[str, _Period] = OrderedDict()
        self._size = 0
        self._failing = False

    async def question(self, call: Call, rule: SemanticRule) -> Question | None:
        """What a call asks; None for one that cannot be compared, or when its text has no vector.

        The vector is made by a call of its own, with the purpose ``embedding``, for the same principal.
        """
        found = namespace_of(call)
        if found is None:
            return None
        namespace, text = found
        body = orjson.dumps({"model": rule.embedding_model, "input": text})
        remaining = EMBED_S if call.caller.deadline is None else call.caller.deadline.remaining()
        caller = replace(
            call.caller,
            labels=replace(call.caller.labels, purpose="embedding"),
            deadline=Deadline.after(min(EMBED_S, remaining)),
            wishes=NO_WISHES,
        )
        try:
            answer = await self._embed(RequestBody.parse(body), caller)
        except SignalboxError as error:
            self._say(error.code)
            return None
        vector = _vector_in(answer.body)
        self._say(None if vector is not None else "it gave no vector")
        return None if vector is None else Question(f"{namespace}:{rule.embedding_model}", vector)

    async def find(self, question: Question, rule: SemanticRule) -> str | None:
        """The key of the answer to the likest question, if that is like enough."""
        entries: list[tuple[Vector, str]] = []
        for log in self._logs(question.namespace, rule):
            entries += await self._read(log)
        best = nearest(question.vector, entries)
        return None if best is None or best[0] < rule.threshold else best[1]

    def add(self, question: Question, rule: SemanticRule, answer_key: str) -> None:
        """Let an answer be found by its question; returns at once."""
        log = self._logs(question.namespace, rule)[0]
        period = self._periods.get(log)
        number = 1 if period is None else period.last + 1
        if number <= rule.max_entries:
            name = answer_key.encode()
            written = len(name).to_bytes(_KEY_SIZE_BYTES, "big") + name + question.vector.written()
            self._kept.append(log, number, written, 2 * rule.ttl_s)

    def _logs(self, namespace: str, rule: SemanticRule) -> tuple[str, str]:
        """The logs of this period and of the one before."""
        period = self._clock() // (rule.ttl_s * 1000)
        return f"{namespace}:{period}", f"{namespace}:{period - 1}"

    async def _read(self, log: str) -> list[tuple[Vector, str]]:
        period = self._periods.get(log)
        events = await self._kept.follow(log, 0 if period is None else period.last)
        if period is None:
            if not events:
                return []
            period = self._periods[log] = _Period()
        self._periods.move_to_end(log)
        for number, written in events:
            if number <= period.last:
                continue  # another call has read it meanwhile
            size = int.from_bytes(written[:_KEY_SIZE_BYTES], "big") + _KEY_SIZE_BYTES
            vector = Vector.read(written[size:])
            period.entries.append((vector, written[_KEY_SIZE_BYTES:size].decode()))
            period.last = number
            period.size += len(written)
            self._size += len(written)
        while self._size > MAX_VECTOR_BYTES and len(self._periods) > 1:
            _, forgotten = self._periods.popitem(last=False)
            self._size -= forgotten.size
        return period.entries

    def _say(self, failure: str | None) -> None:
        if failure is not None and not self._failing:
            _LOG.warning("questions cannot be compared, models are called instead: %s", failure)
        self._failing = failure is not None


def _vector_in(answer: bytes) -> Vector | None:
    try:
        numbers = orjson.loads(answer)["data"][0]["embedding"]
        return Vector.of([float(number) for number in numbers])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return None
