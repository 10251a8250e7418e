"""Admission that is looked at: what is open, and books that go on when counting fails."""

from typing import Any, ClassVar

import pytest

from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.admission import Opening, Ticket
from signalbox.llm_gateway.admission.open_calls import abandoned
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import LimitExceeded
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import Labels, LedgerCall
from signalbox.llm_gateway.telemetry import CallMetrics, Names, ObservedAdmission

DEPLOYMENT = Deployment(model="small")
WORST = WorstCase(Tokens(), 0, "USD", Tokens(), None)
OPENING = Opening(
    "llm_1",
    Principal(tenant="default", subject="key:k", scopes=frozenset({Scope.LLM})),
    Labels(),
    "chat/completions",
    "small",
    WORST,
    0,
    None,
)


class Books(CallMetrics):
    """Metrics that tell what was counted; counting fails where it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(Names(lambda: [DEPLOYMENT]), lambda: 0)
        self.fails = fails
        self.told: list[Any] = []

    def finished(self, row: LedgerCall) -> None:
        self.told.append(row.call_id)
        if self.fails:
            raise RuntimeError("planted")


class Gate:
    """Admits calls whose tickets remember what they were told, or refuses them."""

    holds_to_worst = True
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.settled: list[str] = []
        self.written: list[str] = []
        self.attempts = 0

    async def admit(self, opening: Opening) -> Ticket:
        if self.error is not None:
            raise self.error
        return self

    async def attempt(self, deployment: Deployment, worst: WorstCase, *, spent_pico: int) -> None:
        self.attempts += 1

    def settle(self, row: LedgerCall) -> None:
        self.settled.append(row.call_id)

    def kept(self, call_ids: list[str]) -> None:
        self.written += call_ids


async def test_a_call_is_open_until_it_is_settled_and_counted_once() -> None:
    books, gate = Books(), Gate()
    admission = ObservedAdmission(gate, books)
    ticket = await admission.admit(OPENING)
    await ticket.attempt(DEPLOYMENT, WORST, spent_pico=0)
    assert (books.open, gate.attempts) == (1, 1)
    ticket.settle(abandoned(OPENING))
    ticket.settle(abandoned(OPENING))
    assert (books.open, books.told) == (0, ["llm_1"])
    admission.kept(["llm_1"])
    assert gate.written == ["llm_1"]


async def test_a_refused_call_is_not_open() -> None:
    books = Books()
    with pytest.raises(LimitExceeded):
        await ObservedAdmission(Gate(LimitExceeded("full")), books).admit(OPENING)
    assert (books.open, books.told) == (0, [])


async def test_a_call_that_cannot_be_counted_is_settled_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    ticket = await ObservedAdmission(gate, Books(fails=True)).admit(OPENING)
    ticket.settle(abandoned(OPENING))
    assert gate.settled == ["llm_1"]
    assert "could not be counted" in caplog.text
