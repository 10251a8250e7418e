"""What one call uses: counted while it runs, written to the ledger exactly once, shown in the trace."""

import asyncio
import copy
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from signalbox.common.errors import SignalboxError
from signalbox.common.telemetry.tracing import records
from signalbox.llm_gateway.admission import NO_SLOT, Opening, Slot, Ticket
from signalbox.llm_gateway.admission.open_calls import abandoned
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import ProviderBroke, ProviderTimeout
from signalbox.llm_gateway.money import Price, money
from signalbox.llm_gateway.ports import Ledger
from signalbox.llm_gateway.protocol import Tokens, estimated_tokens
from signalbox.llm_gateway.records import MAX_PICO, CachedBy, LedgerAttempt, LedgerCall, Outcome, storable
from signalbox.llm_gateway.telemetry import Content, attributes_of_answer, attributes_of_request

_LOG = logging.getLogger(__name__)

_CLIENT_LEFT = 499
_NO_TOKENS = Tokens()


class AttemptAccount:
    """One attempt at one provider; closed once, by whoever learns first how it ended."""

    def __init__(
        self,
        number: int,
        deployment: Deployment,
        price: Price | None,
        sent_tokens: int,
        span: trace.Span,
        slot: Slot,
    ) -> None:
        self.number = number
        self.deployment = deployment
        self._price = price
        self._sent_tokens = sent_tokens
        self._received_bytes = 0
        self._span = span
        self._slot = slot
        self._started = time.monotonic()
        self._tokens: Tokens | None = None
        self._answered: str | None = None
        self.first_token_at: float | None = None
        """When the first piece of its answer came, on the monotonic clock."""
        self.at_most_pico = 0
        """What it may cost while it is not over, where that matters."""
        self.row: LedgerAttempt | None = None
        self.content: Content | None = None
        """What is said in it, where that is kept on the span."""

    def reported(self, usage: Mapping[str, Any]) -> None:
        """The provider reported its tokens; the last report counts, and one that makes no sense is none."""
        self._tokens = Tokens.reported(usage)

    def answered(self, model: Any) -> None:
        """The provider said which model answered."""
        if self._answered is None and isinstance(model, str):
            self._answered = storable(model)

    def received(self, size: int) -> None:
        """So many bytes of answer came."""
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        self._received_bytes += size

    @property
    def cost_pico(self) -> int | None:
        """What it cost, in 10^-12 units; None without a price, or where the tokens were not reported."""
        if self.row is not None:
            return None if self.row.estimated else self.row.cost_pico
        if self._price is None or self._tokens is None:
            return None
        return self._charged(self._price, self._tokens)[0]

    @property
    def currency(self) -> str | None:
        """The currency of its price."""
        return None if self._price is None else self._price.currency

    def close(self, outcome: Outcome, status: int, code: str | None = None) -> None:
        """The attempt is over.

        An attempt that the provider refused before it began to answer used nothing. One that was cut off, or
        whose provider reports no tokens, is estimated from the bytes that went and came.
        """
        if self.row is not None:
            return
        tokens, estimated, price = self._tokens, False, self._price
        cost = None if price is None else 0
        if tokens is None:
            unanswered = outcome == "error" and not self._received_bytes and code != ProviderBroke.code
            tokens = Tokens()
            if not unanswered:
                estimated = True
                tokens = Tokens(input=self._sent_tokens, output=estimated_tokens(self._received_bytes))
        if price is not None and (estimated or self._tokens is not None):
            cost, exact = self._charged(price, tokens)
            if not exact:
                estimated = True
                _LOG.error("'%s' cost more than the ledger can hold; check its price", self.deployment.name)
        self.row = LedgerAttempt(
            self.number,
            storable(self.deployment.name),
            self._answered,
            tokens,
            cost,
            None if price is None else price.currency,
            estimated,
            outcome,
            status,
            None if code is None else storable(code),
            int((time.monotonic() - self._started) * 1000),
        )
        if self._slot is not NO_SLOT:
            self._slot.free()
        if self._span is not trace.INVALID_SPAN:
            self._end_span(self.row)

    def _charged(self, price: Price, tokens: Tokens) -> tuple[int, bool]:
        """The cost in 10^-12 units, and whether it is that: what the ledger cannot hold is cut to what it can."""
        try:
            cost = price.cost_pico(tokens)
        except ArithmeticError:  # more digits than decimals have
            return MAX_PICO, False
        return (cost, True) if cost <= MAX_PICO else (MAX_PICO, False)

    def _end_span(self, row: LedgerAttempt) -> None:
        span = self._span
        if span.is_recording():
            first = None if self.first_token_at is None else self.first_token_at - self._started
            span.set_attributes(attributes_of_answer(row, first))
            if self.content is not None:
                self.content.put_on(span)
            if row.outcome != "ok":
                span.set_status(Status(StatusCode.ERROR, row.error_code or row.outcome))
        span.end()


class CallAccount:
    """One call and its attempts."""

    def __init__(
        self,
        ledger: Ledger,
        tracer: trace.Tracer,
        opening: Opening,
        ticket: Ticket,
        *,
        streamed: bool,
    ) -> None:
        self.call_id = opening.call_id
        self.emulated: str | None = None
        self.cached: CachedBy | None = None
        self.outcome: Outcome | None = None
        """How the call ended, once it has."""
        self._ledger = ledger
        self._tracer = tracer
        self._opening = opening
        self._ticket = ticket
        self._streamed = streamed
        self._started = time.monotonic()
        self._attempts: list[AttemptAccount] = []
        self._finished = False

    def attempt(
        self, deployment: Deployment, price: Price | None, sent_bytes: int, slot: Slot = NO_SLOT
    ) -> AttemptAccount:
        """Begin an attempt of ``sent_bytes`` of request, which frees its ``slot`` when it is over."""
        span = self._attempt_span(deployment) if records(self._tracer) else trace.INVALID_SPAN
        # Data of images are no text: what was reserved says how much they may be.
        sent_tokens = min(estimated_tokens(sent_bytes), self._opening.worst.tokens.input)
        account = AttemptAccount(len(self._attempts) + 1, deployment, price, sent_tokens, span, slot)
        self._attempts.append(account)
        return account

    @property
    def cost(self) -> str | None:
        """What the attempts cost together, such as ``0.00012 USD``; None when one has no price or no report."""
        if self.cached is not None:
            currency = self._opening.worst.currency
            return None if currency is None else f"0 {currency}"
        if len(self._attempts) == 1:
            (attempt,) = self._attempts
            pico = attempt.cost_pico
            return None if pico is None else f"{money(pico)} {attempt.currency}"
        costs = [attempt.cost_pico for attempt in self._attempts]
        currencies = {attempt.currency for attempt in self._attempts}
        if len(currencies) != 1 or None in costs:
            return None
        return f"{money(sum(cost for cost in costs if cost is not None))} {currencies.pop()}"

    @property
    def answered_by(self) -> Deployment | None:
        """The deployment whose answer it is, once it is whole."""
        answered = [
            attempt for attempt in self._attempts if attempt.row is not None and attempt.row.outcome == "ok"
        ]
        return answered[-1].deployment if answered else None

    @property
    def attempts_made(self) -> int:
        """How often a provider was called."""
        return len(self._attempts)

    def handed_over(self) -> "CallAccount":
        """The account of the same call for work that goes on without its caller; this one is closed without a row."""
        account = copy.copy(self)
        self._finished = True
        return account

    def answered_from(self, cached: CachedBy) -> None:
        """The call is over: it had its answer without a provider, and costs nothing."""
        self.cached = cached
        self.finish("ok", 200)

    @property
    def tried(self) -> bool:
        """Whether an attempt was begun."""
        return bool(self._attempts)

    @property
    def spent_pico(self) -> int:
        """What the attempts cost that are over, and what those may cost that are not, as far as it is known."""
        spent = 0
        for attempt in self._attempts:
            spent += attempt.at_most_pico if attempt.row is None else attempt.row.cost_pico or 0
        return spent

    @property
    def used(self) -> Tokens:
        """Tokens of the attempts that are over."""
        return sum((attempt.row.tokens for attempt in self._attempts if attempt.row is not None), Tokens())

    def _attempt_span(self, deployment: Deployment) -> trace.Span:
        kind = "embeddings" if self._opening.operation == "embeddings" else "chat"
        return self._tracer.start_span(
            f"{kind} {deployment.provider_model}",
            kind=SpanKind.CLIENT,
            attributes=attributes_of_request(kind, deployment, streamed=self._streamed),
        )

    def drop(self, *, besides: AttemptAccount | None) -> None:
        """Attempts that are still open have been stopped, as another one was answered sooner."""
        for attempt in self._attempts:
            if attempt is not besides:
                attempt.close("aborted", _CLIENT_LEFT, "hedge_lost")

    def failed(self, error: BaseException) -> None:
        """The call was not answered, for whatever reason."""
        if isinstance(error, SignalboxError):
            self.fail(error)
        elif isinstance(error, asyncio.CancelledError):
            self.abort()
        else:
            self.finish("error", 500, "internal_error")

    def fail(self, error: SignalboxError) -> None:
        """The call ended with an error."""
        problem = error.problem()
        outcome: Outcome = "timeout" if isinstance(error, ProviderTimeout) else "error"
        self.finish(outcome, problem.status, problem.code)

    def abort(self) -> None:
        """The client left; without effect on a call that is over."""
        self.finish("aborted", _CLIENT_LEFT, "client_left")

    def finish(self, outcome: Outcome, status: int, code: str | None = None) -> None:
        """The call is over: give its ticket back and write its row, whatever fails. Later calls have no effect."""
        if self._finished:
            return
        self._finished = True
        self.outcome = outcome
        failures: list[Exception] = []
        for attempt in self._attempts:
            try:
                attempt.close(outcome, status, code)
            except Exception as error:  # noqa: BLE001 - the others are closed all the same
                failures.append(error)
        try:
            row = self._row(outcome, status, code)
        except Exception as error:  # noqa: BLE001 - a bug; the slot and the reservation are given back all the same
            failures.append(error)
            row = self._row_of_failure()
        try:
            self._settle(row)
        except Exception as error:  # noqa: BLE001 - the row is written all the same
            failures.append(error)
        try:
            self._ledger.record(row)
        except Exception as error:  # noqa: BLE001 - nobody who ends a call can do anything about it
            failures.append(error)
        if failures:
            _LOG.error("the end of a call failed", exc_info=failures[0], extra={"call_id": self.call_id})

    def _settle(self, row: LedgerCall) -> None:
        try:
            self._ticket.settle(row)
        except Exception:
            self._ticket.settle(self._row_of_failure())
            raise

    def _row_of_failure(self) -> LedgerCall:
        """The row of a call whose own cannot be made or settled: it may have used all that it could."""
        row = abandoned(self._opening)
        return replace(row, error_code="internal_error", streamed=self._streamed, reaped=False)

    def _row(self, outcome: Outcome, status: int, code: str | None) -> LedgerCall:
        rows = tuple([attempt.row for attempt in self._attempts if attempt.row is not None])
        if len(rows) < len(self._attempts):
            raise RuntimeError("an attempt has no row, so that what the call used is not known")
        answered = rows if len(rows) < 2 else [row for row in rows if row.outcome == "ok"] or rows
        last = answered[-1] if answered else None
        free = self.cached or not rows
        total, currency, complete = (0, self._opening.worst.currency, True) if free else _total(rows)
        first = [attempt.first_token_at for attempt in self._attempts if attempt.first_token_at is not None]
        opening, alone = self._opening, rows[0] if len(rows) == 1 else None
        # By position: so many names take three times as long.
        return LedgerCall(
            opening.principal.tenant,
            self.call_id,
            storable(opening.principal.subject),
            opening.labels,
            opening.operation,
            storable(opening.model),
            last.model_answered if last else None,
            last.deployment if last else None,
            self._streamed,
            alone.tokens if alone else sum([row.tokens for row in rows], Tokens()),
            total,
            currency,
            complete,
            alone.estimated if alone else any(row.estimated for row in rows),
            self.emulated,
            outcome,
            status,
            None if code is None else storable(code),
            int((time.monotonic() - self._started) * 1000),
            int((min(first) - self._started) * 1000) if self._streamed and first else None,
            opening.trace_id,
            opening.created_at,
            self.cached,
            rows,
        )


def _total(rows: tuple[LedgerAttempt, ...]) -> tuple[int | None, str | None, bool]:
    """The sum of what is known of the attempts' costs, its currency, and whether that is all they cost.

    An attempt that used nothing costs nothing, with or without a price. There is no sum of two currencies.
    """
    if len(rows) == 1 and rows[0].cost_pico is not None:
        return rows[0].cost_pico, rows[0].currency, True
    paid = [row for row in rows if row.cost_pico is not None]
    complete = all(row.cost_pico is not None or row.tokens == _NO_TOKENS for row in rows)
    currencies = {row.currency for row in paid}
    if len(currencies) == 1:
        cost = sum(row.cost_pico or 0 for row in paid)
        return min(cost, MAX_PICO), currencies.pop(), complete
    return (0, None, True) if not paid and complete else (None, None, False)
