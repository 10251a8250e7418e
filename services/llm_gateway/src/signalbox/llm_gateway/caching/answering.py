"""The step between admission and providers: answers that are there already."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import orjson

from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.caching.capture import (
    asking_usage,
    captured,
    completion_in,
    for_listener,
    may_be_kept,
)
from signalbox.llm_gateway.caching.kept import Entry, KeptAnswers
from signalbox.llm_gateway.caching.keys import answer_key
from signalbox.llm_gateway.caching.metrics import CacheLookups
from signalbox.llm_gateway.caching.replay import replayed_events
from signalbox.llm_gateway.caching.rules import MAX_ENTRY_BYTES, CacheRule, CacheRules, SemanticRule
from signalbox.llm_gateway.caching.semantic import Question, SemanticAnswers
from signalbox.llm_gateway.caching.sharing import SharedCalls
from signalbox.llm_gateway.caching.whose import AnswersOf
from signalbox.llm_gateway.caching.wishes import NO_WISHES
from signalbox.llm_gateway.call import Answering, Call
from signalbox.llm_gateway.records import CachedBy

Json = dict[str, Any]

MAX_ASKED_TTL_S = 86_400
"""The longest that an answer is kept because its caller asks for it."""

_EVENTS_AT_ONCE = 32


@record
class _Wanted:
    """What is to be done for one call. ``ttl_s`` of 0: its answer is not kept."""

    key: str
    ttl_s: int
    max_bytes: int
    coalesce: bool
    semantic: SemanticRule | None = None
    question: Question | None = None

    @property
    def kept_s(self) -> int:
        """Seconds for which an entry is of use, to the same request or to others."""
        return max(self.ttl_s, self.semantic.ttl_s if self.question and self.semantic else 0)


class CachedAnswering:
    """Answers calls from what is kept, and else by the next step. ``clock`` gives epoch milliseconds."""

    def __init__(
        self,
        following: Answering,
        rules: CacheRules,
        kept: KeptAnswers,
        shared: SharedCalls,
        semantic: SemanticAnswers,
        whose: AnswersOf,
        clock: Callable[[], int],
        lookups: CacheLookups,
    ) -> None:
        self._next = following
        self._whose = whose
        self._rules = rules
        self._kept = kept
        self._shared = shared
        self._semantic = semantic
        self._clock = clock
        self._lookups = lookups

    def answer(self, call: Call) -> Coroutine[Any, Any, WholeAnswer | StreamedAnswer]:
        """See ``call.Answering``."""
        rule = self._rules.of(call.body.model)
        wanted = None if rule is None and call.caller.wishes is NO_WISHES else _wanted(call, rule)
        return self._next.answer(call) if wanted is None else self._cached(call, wanted)

    async def _cached(self, call: Call, wanted: _Wanted) -> WholeAnswer | StreamedAnswer:
        entry = await self._entry(call, wanted.key, wanted.ttl_s)
        if wanted.ttl_s and call.caller.wishes.read:
            self._lookups.count("exact", found=entry is not None)
        if entry is not None:
            return _again(call, entry, "exact")
        if wanted.semantic is not None:
            wanted, entry = await self._similar(call, wanted, wanted.semantic)
            if entry is not None:
                return _again(call, entry, "semantic")
        return _labelled(await self._made(call, wanted), "miss")

    async def _entry(self, call: Call, key: str, ttl_s: int) -> Entry | None:
        """What is kept under a key, unless it is older than ``ttl_s`` or than the caller wants."""
        wishes = call.caller.wishes
        if not ttl_s or not wishes.read:
            return None
        written = await self._kept.get(key)
        entry = None if written is None else Entry.read(written)
        if entry is None:
            return None
        oldest_s = ttl_s if wishes.max_age_s is None else min(ttl_s, wishes.max_age_s)
        return entry if self._clock() - entry.made_at <= oldest_s * 1000 else None

    async def _similar(self, call: Call, wanted: _Wanted, rule: SemanticRule) -> tuple[_Wanted, Entry | None]:
        """The answer to a question that means the same; and what is wanted, with the question that is asked."""
        question = await self._semantic.question(call, rule)
        if question is None:
            return wanted, None
        key = await self._semantic.find(question, rule)
        entry = None if key is None else await self._entry(call, key, rule.ttl_s)
        self._lookups.count("semantic", found=entry is not None)
        return replace(wanted, question=question), entry

    async def _made(self, call: Call, wanted: _Wanted) -> WholeAnswer | StreamedAnswer:
        """The answer of the next step, or that of an identical call which is under way."""
        if wanted.coalesce:
            try:
                return await self._shared.answer(
                    wanted.key,
                    call,
                    lambda shared: self._kept_answer(shared, wanted),
                    max_bytes=wanted.max_bytes,
                )
            finally:
                self._lookups.count("coalesced", found=call.account.cached == "coalesced")
        return _filtered(await self._kept_answer(call, wanted), call)

    async def _kept_answer(self, call: Call, wanted: _Wanted) -> WholeAnswer | StreamedAnswer:
        """The answer of the next step, which is kept if it may be. A stream tells its usage."""
        answer = await self._next.answer(asking_usage(call))
        if not wanted.kept_s or not call.caller.wishes.write:
            return answer
        if isinstance(answer, WholeAnswer):
            completion = completion_in(answer)
            if completion is not None:
                self._keep(call, wanted, completion, answer.body)
            return answer
        return captured(
            answer,
            call,
            lambda completion: self._keep(call, wanted, completion, orjson.dumps(completion)),
            max_bytes=wanted.max_bytes,
        )

    def _keep(self, call: Call, wanted: _Wanted, completion: Json, body: bytes) -> None:
        if len(body) <= wanted.max_bytes and may_be_kept(call, completion):
            entry = Entry(self._clock(), body, call.account.emulated)
            key, ttl_s = wanted.key, wanted.kept_s
            self._kept.put(key, entry.written(), ttl_s, lambda: self._whose.note(call.caller, key, ttl_s))
            if wanted.question is not None and wanted.semantic is not None:
                self._semantic.add(wanted.question, wanted.semantic, wanted.key)


def _wanted(call: Call, rule: CacheRule | None) -> _Wanted | None:
    """What rule and caller want together; None when that is nothing."""
    wishes = call.caller.wishes
    ttl_s = None if rule is None else rule.ttl_s
    if ttl_s is None:
        ttl_s = min(wishes.max_age_s or 0, MAX_ASKED_TTL_S)
    # Who wants no kept answer wants none of another call's either, unless it says so.
    coalesce = wishes.coalesce or (rule is not None and rule.coalesce and wishes.read and wishes.write)
    semantic = None if rule is None or not wishes.read or not wishes.write else rule.semantic
    if not ttl_s and not coalesce and semantic is None:
        return None
    key = answer_key(call)
    if key is None:
        return None
    return _Wanted(key, ttl_s, MAX_ENTRY_BYTES if rule is None else rule.max_bytes, coalesce, semantic)


def _again(call: Call, entry: Entry, cached: CachedBy) -> WholeAnswer | StreamedAnswer:
    """A kept answer, in the form that the call asks for. The call is over, and has cost nothing."""
    account = call.account
    account.emulated = entry.emulated
    account.answered_from(cached)
    headers = {**call.headers(account.cost), names.LLM_CACHE: "hit" if cached == "exact" else cached}
    if not call.body.stream:
        return WholeAnswer(entry.body, headers)
    events = replayed_events(
        orjson.loads(entry.body),
        with_usage=call.body.wants_usage,
        cost=account.cost if call.caller.is_service else None,
    )

    async def chunks() -> AsyncGenerator[bytes, None]:
        gathered = []
        for written in events:
            gathered.append(written)
            if len(gathered) == _EVENTS_AT_ONCE:
                yield b"".join(gathered)
                gathered = []
        yield b"".join(gathered)

    return StreamedAnswer(chunks(), headers, account, AsyncExitStack())


def _filtered(answer: WholeAnswer | StreamedAnswer, call: Call) -> WholeAnswer | StreamedAnswer:
    """A stream that was made to tell its usage, for a caller who may not have asked for it."""
    if isinstance(answer, WholeAnswer) or call.body.wants_usage:
        return answer

    async def chunks() -> AsyncGenerator[bytes, None]:
        async for piece in answer:
            passed = for_listener(piece, wants_usage=False)
            if passed:
                yield passed

    resources = AsyncExitStack()
    resources.push_async_callback(answer.aclose)
    return StreamedAnswer(chunks(), answer.headers, call.account, resources)


def _labelled(answer: WholeAnswer | StreamedAnswer, label: str) -> WholeAnswer | StreamedAnswer:
    headers = {names.LLM_CACHE: label, **answer.headers}
    if isinstance(answer, WholeAnswer):
        return replace(answer, headers=headers)
    answer.headers = headers
    return answer
