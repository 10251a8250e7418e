"""What calls add up to, for Prometheus: counted from the row of each finished call, in one place.

Where OpenTelemetry's semantic conventions for generative AI have a metric, it has their name, labels and buckets
(source: semantic conventions 1.42, "Generative AI client metrics"; the gateway is the client of providers, so those are
per attempt). The rest is ours, per call. Who calls is in no label: tenants, keys and users are in the ledger.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from signalbox.common.telemetry.series import Count, Spread, counters, histograms
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.protocol.tokens import KINDS
from signalbox.llm_gateway.records import LedgerAttempt, LedgerCall
from signalbox.llm_gateway.telemetry.names import Names

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**power for power in range(14))
_PICO = 1e-12
_MAX_KEPT = 4096
"""Series whose labels are remembered by what the rows say; others are looked up each time."""

_CLIENT = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type")
_Strings = tuple[str, ...]
_of_each_kind: Callable[[Tokens], tuple[int, ...]] = attrgetter(*KINDS)


class _OfCalls:
    """The series that a call of one kind and outcome adds to."""

    __slots__ = ("count", "seconds")

    def __init__(self, count: Count, seconds: Spread) -> None:
        self.count = count
        self.seconds = seconds


class _OfAttempts:
    """The series that an attempt of one kind and outcome adds to."""

    __slots__ = ("cost", "count", "first_chunk", "input", "output", "seconds", "tokens", "unpriced")

    def __init__(
        self,
        count: Count,
        spreads: tuple[Spread, Spread, Spread, Spread],
        tokens: list[Count],
        cost: Count | None,
        unpriced: Count,
    ) -> None:
        self.count = count
        self.seconds, self.first_chunk, self.input, self.output = spreads
        self.tokens = tokens
        self.cost = cost
        self.unpriced = unpriced


class CallMetrics(Collector):
    """Adds up calls; not for threads. ``waiting`` tells how many rows wait for the database."""

    def __init__(self, names: Names, waiting: Callable[[], int]) -> None:
        self.open = 0
        """Calls that were admitted and are not over."""
        self._names = names
        self._waiting = waiting
        self._of_calls: dict[tuple[str | None, ...], _OfCalls] = {}
        self._of_attempts: dict[tuple[str | None, ...], _OfAttempts] = {}
        self._calls: dict[_Strings, Count] = {}
        self._attempts: dict[_Strings, Count] = {}
        self._retries: dict[_Strings, Count] = {}
        self._fallbacks: dict[_Strings, Count] = {}
        self._cached: dict[_Strings, Count] = {}
        self._tokens: dict[_Strings, Count] = {}
        self._cost: dict[_Strings, Count] = {}
        self._unpriced: dict[_Strings, Count] = {}
        self._call_seconds: dict[_Strings, Spread] = {}
        self._attempt_seconds: dict[_Strings, Spread] = {}
        self._first_chunk: dict[_Strings, Spread] = {}
        self._token_usage: dict[_Strings, Spread] = {}

    def finished(self, row: LedgerCall) -> None:
        """A call is over."""
        key = (row.operation, row.model_asked, row.deployment, row.outcome)
        of_calls = self._of_calls.get(key)
        if of_calls is None:
            of_calls = self._find_calls(row, key)
        of_calls.count.value += 1
        of_calls.seconds.observe(row.latency_ms / 1000)
        attempts = row.attempts
        for attempt in attempts:
            self._attempted(row, attempt, last=attempt is attempts[-1])
        if len(attempts) > 1:
            self._tried_again(row)
        if row.cached is not None:
            model = self._names.model(row.model_asked, answered=True)
            _of(self._cached, (_operation(row), model, row.cached)).value += 1

    def _attempted(self, row: LedgerCall, attempt: LedgerAttempt, *, last: bool) -> None:
        key = (
            row.operation,
            row.model_asked,
            attempt.deployment,
            attempt.outcome,
            attempt.error_code,
            attempt.currency,
        )
        found = self._of_attempts.get(key)
        if found is None:
            found = self._find_attempts(row, attempt, key)
        found.count.value += 1
        found.seconds.observe(attempt.latency_ms / 1000)
        if last and row.first_token_ms is not None:
            found.first_chunk.observe(row.first_token_ms / 1000)
        tokens = attempt.tokens
        if tokens.input or tokens.output:
            found.input.observe(tokens.input)
            found.output.observe(tokens.output)
            # The totals are the first of all kinds, and mostly the only ones that are counted.
            values = _of_each_kind(tokens) if tokens.has_parts else (tokens.input, tokens.output)
            for count, value in zip(found.tokens, values, strict=False):
                count.value += value
        if attempt.cost_pico is None or found.cost is None:
            found.unpriced.value += 1
        else:
            found.cost.value += attempt.cost_pico

    def _tried_again(self, row: LedgerCall) -> None:
        before = row.attempts[0].deployment
        model = self._names.model(row.model_asked, answered=row.outcome == "ok")
        for attempt in row.attempts[1:]:
            name, _, _ = self._names.deployment(attempt.deployment, answered=attempt.outcome == "ok")
            if attempt.deployment == before:
                _of(self._retries, (model, name)).value += 1
            else:
                _of(self._fallbacks, (model, name)).value += 1
            before = attempt.deployment

    def _find_calls(self, row: LedgerCall, key: tuple[str | None, ...]) -> _OfCalls:
        answered = row.outcome == "ok"
        model = self._names.model(row.model_asked, answered=answered)
        name = self._names.deployment(row.deployment, answered=answered)[0] if row.deployment else ""
        found = _OfCalls(
            _of(self._calls, (_operation(row), model, name, row.outcome)),
            _spread(self._call_seconds, (_operation(row), model, row.outcome), _SECONDS),
        )
        if len(self._of_calls) < _MAX_KEPT and model == row.model_asked:
            self._of_calls[key] = found
        return found

    def _find_attempts(
        self, row: LedgerCall, attempt: LedgerAttempt, key: tuple[str | None, ...]
    ) -> _OfAttempts:
        answered = attempt.outcome == "ok"
        operation, error = _operation(row), self._names.error(attempt.error_code)
        model = self._names.model(row.model_asked, answered=row.outcome == "ok")
        name, provider, provider_model = self._names.deployment(attempt.deployment, answered=answered)
        client = (operation, provider, provider_model)
        found = _OfAttempts(
            _of(self._attempts, (operation, name, attempt.outcome, error)),
            (
                _spread(self._attempt_seconds, (*client, error), _SECONDS),
                _spread(self._first_chunk, client, _SECONDS),
                _spread(self._token_usage, (*client, "input"), _TOKENS),
                _spread(self._token_usage, (*client, "output"), _TOKENS),
            ),
            [_of(self._tokens, (model, name, kind)) for kind in KINDS],
            _of(self._cost, (model, name, attempt.currency)) if attempt.currency else None,
            _of(self._unpriced, (model, name)),
        )
        named = (
            model == row.model_asked and name == attempt.deployment and error == (attempt.error_code or "")
        )
        if len(self._of_attempts) < _MAX_KEPT and named:
            self._of_attempts[key] = found
        return found

    def collect(self) -> Iterable[Metric]:
        """All families, as they are now."""
        yield from self._ours()
        yield from self._conventional()
        yield _gauge("signalbox_llm_calls_open", "Calls that were admitted and are not over.", self.open)
        yield _gauge("signalbox_llm_ledger_rows_waiting", "Rows that wait for the database.", self._waiting())
        yield _gauge("signalbox_llm_loop_tasks", "Tasks of the process's event loop.", _tasks())

    def _ours(self) -> Iterator[Metric]:
        of_model = ("model", "deployment")
        yield counters(
            "signalbox_llm_calls",
            "Calls that are over, by the deployment that was tried last (none: the cache, or none was tried).",
            ("operation", *of_model, "outcome"),
            self._calls,
        )
        yield histograms(
            "signalbox_llm_call_seconds",
            "Time from a call's admission to its end, in seconds.",
            ("operation", "model", "outcome"),
            self._call_seconds.items(),
        )
        yield counters(
            "signalbox_llm_attempts",
            "Attempts at deployments.",
            ("operation", "deployment", "outcome", "error_type"),
            self._attempts,
        )
        yield counters(
            "signalbox_llm_retries",
            "Attempts at the deployment of the attempt before.",
            of_model,
            self._retries,
        )
        yield counters(
            "signalbox_llm_fallbacks",
            "Attempts at another deployment than that of the attempt before.",
            of_model,
            self._fallbacks,
        )
        yield counters(
            "signalbox_llm_cached_calls",
            "Calls that were answered without a provider: exact, semantic, coalesced (with another call).",
            ("operation", "model", "cached"),
            self._cached,
        )
        yield counters(
            "signalbox_llm_tokens",
            "Tokens by kind: input and output are totals, the other kinds are parts of them.",
            (*of_model, "kind"),
            {key: count for key, count in self._tokens.items() if count.value},
        )
        yield counters(
            "signalbox_llm_cost",
            "What attempts cost, in units of the currency.",
            (*of_model, "currency"),
            self._cost,
            scale=_PICO,
        )
        yield counters(
            "signalbox_llm_unpriced_attempts",
            "Attempts whose cost is not known, which is not zero.",
            of_model,
            {key: count for key, count in self._unpriced.items() if count.value},
        )

    def _conventional(self) -> Iterator[Metric]:
        yield histograms(
            "gen_ai_client_operation_duration_seconds",
            "GenAI operation duration: one attempt at a provider.",
            _CLIENT,
            self._attempt_seconds.items(),
        )
        yield histograms(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time to the first chunk of a streamed attempt.",
            _CLIENT[:3],
            ((key, spread) for key, spread in self._first_chunk.items() if spread.used),
        )
        yield histograms(
            "gen_ai_client_token_usage",
            "Number of input and output tokens used by an attempt.",
            (*_CLIENT[:3], "gen_ai_token_type"),
            ((key, spread) for key, spread in self._token_usage.items() if spread.used),
        )


def _tasks() -> int:
    """How many tasks the running event loop has; outside of one there are none to look after."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _operation(row: LedgerCall) -> str:
    """As the semantic conventions call it."""
    return "embeddings" if row.operation == "embeddings" else "chat"


def _of(series: dict[_Strings, Count], key: _Strings) -> Count:
    found = series.get(key)
    if found is None:
        found = series[key] = Count()
    return found


def _spread(series: dict[_Strings, Spread], key: _Strings, bounds: tuple[float, ...]) -> Spread:
    found = series.get(key)
    if found is None:
        found = series[key] = Spread(bounds)
    return found


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)
