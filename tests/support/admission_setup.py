"""Admission with counters in memory and a clock that the test moves; no socket is opened."""

import asyncio
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry

from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.admission import Opening
from signalbox.llm_gateway.admission.corrections import CountedCorrections
from signalbox.llm_gateway.admission.demands import Demands, Spender
from signalbox.llm_gateway.admission.limited import LimitedAdmission
from signalbox.llm_gateway.admission.memory import MemoryCounters
from signalbox.llm_gateway.admission.metrics import AdmissionMetrics
from signalbox.llm_gateway.admission.open_calls import abandoned
from signalbox.llm_gateway.admission.seeding import Seeding
from signalbox.llm_gateway.errors import BudgetExceeded, LimitExceeded
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.policies import BudgetRule, LimitRule, PolicySet, TenantRule
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import Labels, LedgerAttempt
from signalbox.llm_gateway.usage import Usage

USD = 10**12


class Clock:
    def __init__(self, text="2026-06-01T12:00", zone="UTC"):
        self.go(text, zone)

    def go(self, text, zone="UTC"):
        self.s = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()

    def __call__(self):
        return self.s

    def ms(self):
        return int(self.s * 1000)


class FakeSpending:
    """A ledger that says what it is told to."""

    def __init__(self, pico=0):
        self.pico = pico
        self.asked = []

    async def spent_pico(self, scope, start_ms, end_ms, without):
        self.asked.append((scope, start_ms, end_ms, without))
        if isinstance(self.pico, Exception):
            raise self.pico
        return self.pico


class Setup:
    def __init__(self, *rules, clock=None, spending=None, zone="UTC", counters=None):
        self.clock = clock or Clock()
        self.spending = spending or FakeSpending()
        self.counters = MemoryCounters(self.clock) if counters is None else counters
        self.policies = PolicySet(
            1,
            tuple(rule for rule in rules if isinstance(rule, LimitRule)),
            tuple(rule for rule in rules if isinstance(rule, BudgetRule)),
            (TenantRule(tenant="default", timezone=zone),),
        )
        self.registry = CollectorRegistry()
        self.admission = LimitedAdmission(
            Demands(lambda: self.policies),
            self.counters,
            Seeding(self.counters, self.spending),
            AdmissionMetrics(self.registry),
            self.clock.ms,
        )
        self.corrections = CountedCorrections(Demands(lambda: self.policies), self.counters, self.clock.ms)
        self.number = 0

    def opening(
        self,
        *,
        tenant="default",
        key="k1",
        model="alias",
        tokens=100,
        cost=USD // 100,
        currency="USD",
        **labels,
    ):
        self.number += 1
        unknown = "it has no price" if cost is None else None
        estimated = None if cost is None else cost // 4
        worst = WorstCase(
            Tokens(input=4 * tokens), cost, currency, Tokens(input=tokens), unknown, estimated_pico=estimated
        )
        principal = Principal(tenant=tenant, subject=f"key:{key}", scopes=frozenset({Scope.LLM}))
        return Opening(
            f"llm_{self.number}",
            principal,
            Labels(**labels),
            "chat/completions",
            model,
            worst,
            self.clock.ms(),
            None,
        )

    async def admit(self, **fields):
        opening = self.opening(**fields)
        return opening, await self.admission.admit(opening)

    def corrected(self, cost, number=1, *, currency="USD", created_at=None):
        """Around the writing of a correction of a call of the key k1."""
        spender = Spender("default", "k1", None, None, created_at or self.clock.ms())
        return self.corrections.counted(f"corr_{number}", spender, cost, currency)

    async def admitted(self, count, **fields):
        """How many of so many calls are admitted."""
        results = await asyncio.gather(*(self.admit(**fields) for _ in range(count)), return_exceptions=True)
        assert all(isinstance(each, tuple | LimitExceeded | BudgetExceeded) for each in results), results
        return sum(isinstance(each, tuple) for each in results)


def uncounted_usage(database):
    """Usage of a ledger where no budget applies."""
    demands = Demands(lambda: PolicySet(1))
    return Usage(database, CountedCorrections(demands, MemoryCounters(), lambda: 0))


def row(opening, *attempts):
    made = tuple(
        LedgerAttempt(number, name, None, Tokens(input=tokens), cost, "USD", False, "ok", 200, None, 1)
        for number, (name, tokens, cost) in enumerate(attempts, 1)
    )
    tokens = sum((each.tokens for each in made), Tokens())
    return replace(
        abandoned(opening),
        tokens=tokens,
        attempts=made,
        error_code=None,
        estimated=False,
        reaped=False,
        held_pico=None,
    )


def limit(of="key", name="l", **fields):
    return LimitRule(name=name, of=of, **fields)


def budget(of="key", name="b", amount="1", window="day", **fields):
    return BudgetRule(name=name, of=of, amount=Decimal(amount), window=window, **fields)
