"""A gateway's calls without sockets: several deployments whose providers are scripted."""

import asyncio
import random
from collections import defaultdict
from contextlib import asynccontextmanager

import orjson
from opentelemetry.trace import NoOpTracer

from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.admission.unlimited import NO_SLOT, Unlimited, UnlimitedTicket
from signalbox.llm_gateway.attempts import Attempts
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.calls import ModelCalls
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import (
    ProviderTimeout,
)
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.ports import UpstreamAnswer, UpstreamStream
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.records import Labels
from signalbox.llm_gateway.routing import ModelRoute, Planner

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
DONE = b"data: [DONE]\n\n"
BUSY = (503, b'{"error":{"message":"busy"}}')


def whole(text="hello"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return 200, orjson.dumps({"id": "w", "model": "real", "choices": [choice], "usage": USAGE})


def chunk(content=None, finish=None, *, by="1", role=None, **members):
    delta = {
        name: value
        for name, value in (("role", role), ("content", content), *members.items())
        if value is not None
    }
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return (
        b"data: "
        + orjson.dumps({"id": by, "created": 1, "model": f"real-{by}", "choices": choices})
        + b"\n\n"
    )


def usage_chunk(**usage):
    return b"data: " + orjson.dumps({"id": "u", "choices": [], "usage": {**USAGE, **usage}}) + b"\n\n"


ROLE = chunk("", role="assistant")
END = [chunk(finish="stop"), usage_chunk(), DONE]


class Providers:
    """Each deployment gives its answers in order: (status, body), an error, a list of chunks, "hang" or "late"."""

    def __init__(self):
        self.scripts = defaultdict(list)
        self.asked = []
        self.stopped = []
        self.once_asked = asyncio.Event()
        self.twice_asked = asyncio.Event()

    def _next(self, request):
        name = request.deployment.name
        self.asked.append((name, orjson.loads(request.body)))
        (self.twice_asked if self.once_asked.is_set() else self.once_asked).set()
        step = self.scripts[name].pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    @property
    def names(self):
        return [name for name, _ in self.asked]

    async def send(self, request):
        step = self._next(request)
        if step == "late":
            await asyncio.sleep(request.timeout_s)
            raise ProviderTimeout("late")
        if step == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.append(request.deployment.name)
        status, body, *headers = step
        return UpstreamAnswer(status, headers[0] if headers else {}, body)

    @asynccontextmanager
    async def stream(self, request):
        step = self._next(request)
        status, items, *headers = step if isinstance(step, tuple) else (200, step)
        if isinstance(items, bytes):
            items = [items]

        async def chunks():
            for item in items:
                if item == "hang":
                    await asyncio.Event().wait()
                if isinstance(item, Exception):
                    raise item
                yield item

        try:
            yield UpstreamStream(status, headers[0] if headers else {}, chunks())
        finally:
            self.stopped.append(request.deployment.name)


class Ledger:
    def __init__(self):
        self.rows = []

    def record(self, call):
        self.rows.append(call)

    async def admit(self):
        return

    async def usage(self, tenant, since_ms):
        return []


class Ticket(UnlimitedTicket):
    """Refuses attempts at the deployments that it is told to, and keeps what it was told."""

    def __init__(self):
        self.refuses = {}
        self.spent = []

    async def attempt(self, deployment, worst, *, spent_pico):
        self.spent.append((deployment.name, spent_pico))
        if deployment.name in self.refuses:
            raise self.refuses[deployment.name]
        return NO_SLOT


class Tickets(Unlimited):
    def __init__(self):
        self.ticket = Ticket()

    async def admit(self, opening):
        return self.ticket


class World:
    """Models ``a`` (one deployment: ``a1``, or as many as told) and ``b`` (``b1``), which stands in for ``a``."""

    def __init__(self, names=("a1",), *, b=None, rule=None, **fields):
        self.providers, self.ledger, self.tickets = Providers(), Ledger(), Tickets()
        price = {"input": "1", "output": "2"}
        common = {"base_url": "http://x/v1", "price": price, **fields}
        deployments = [Deployment(model="a", upstream_model="real", id=name, **common) for name in names]
        deployments.append(Deployment(model="b", upstream_model="real-b", id="b1", **{**common, **(b or {})}))
        route = {"name": "a", "fallbacks": ["b"], "retry_backoff_s": 0.001, **(rule or {})}
        catalog, prices = Catalog(deployments, lambda _: None), Prices()
        kinds = dict.fromkeys(("openai", "litellm", "demo"), self.providers)
        self.planner = Planner(catalog, prices, [ModelRoute(**route)])
        attempts = Attempts(catalog, kinds, prices, rng=random.Random(3))
        self.calls = ModelCalls(self.planner, prices, self.tickets, self.ledger, NoOpTracer(), attempts)

    def script(self, **scripts):
        for name, steps in scripts.items():
            self.providers.scripts[name].extend(steps)
        return self

    async def ask(self, *, deadline=None, scopes=(Scope.LLM,), **fields):
        raw = {"model": "a", "messages": [{"role": "user", "content": "hi"}], **fields}
        principal = Principal(tenant="t", subject="key:1", scopes=frozenset(scopes))
        call = Caller(principal, Labels(), deadline)
        return await self.calls.chat(RequestBody.parse(orjson.dumps(raw)).check_chat(), call)

    async def read(self, **fields):
        """The chunks of a streamed answer, parsed, and whether it ended with DONE."""
        async with await self.ask(stream=True, stream_options={"include_usage": True}, **fields) as stream:
            sent = b"".join([piece async for piece in stream])
        events = [
            orjson.loads(block[6:]) for block in sent.split(b"\n\n") if block and block + b"\n\n" != DONE
        ]
        return events, sent.endswith(DONE)

    @property
    def row(self):
        (row,) = self.ledger.rows
        return row


def text_of(events):
    return "".join(
        choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ())
    )
