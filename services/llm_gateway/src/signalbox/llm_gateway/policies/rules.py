"""Limits and budgets as an operator writes them."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from signalbox.common.record import record
from signalbox.contracts.identity import DEFAULT_TENANT

ANY_TENANT = "*"

RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Names a limit or a budget in answers (429) and logs; unique in its tenant."""

Count = Annotated[int, Field(strict=True)]
"""A whole number that is written as one: ``"60"`` and ``true`` are mistakes."""
Seconds = Annotated[float, Field(strict=True)]

WhenUnavailable = Literal["open", "closed"]
"""What happens to calls while that which counts cannot be reached: they are made uncounted, or refused (503)."""


class _Rule(BaseModel):
    """Part of the gateway's file: a misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitSpec(_Rule):
    """How much may be used in any ``window_s`` seconds, and at once.

    It counts apart for every key, user, model or deployment that it is ``of``, unless ``only`` names one of them.
    A user is the session's owner, as the service that calls for it says; other calls have none.
    """

    of: Literal["tenant", "key", "user", "model", "deployment"]
    only: str | None = Field(default=None, max_length=200)
    """A key's id, a user, a model or a deployment's name."""
    requests: Count | None = Field(default=None, ge=1)
    """Calls that may begin in a window."""
    tokens: Count | None = Field(default=None, ge=1)
    """Tokens in a window: input, and what the answer may have until it is known what it had."""
    parallel: Count | None = Field(default=None, ge=1)
    """Calls at a time."""
    window_s: Count = Field(default=60, ge=1, le=86_400)
    wait_s: Seconds = Field(default=0, ge=0, le=60)
    """Seconds that a call waits for room instead of being refused, higher priority first."""
    when_unavailable: WhenUnavailable = "open"

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests is None and self.tokens is None and self.parallel is None:
            raise ValueError("a limit needs at least one of requests, tokens and parallel")
        return self


class LimitRule(LimitSpec):
    """A limit of a tenant."""

    name: RuleName
    tenant: str = DEFAULT_TENANT
    """``*``: every tenant, each counted apart."""


class BudgetSpec(_Rule):
    """How much money may be spent in a window of the calendar, in the tenant's time zone."""

    of: Literal["tenant", "key", "user", "workflow"]
    only: str | None = Field(default=None, max_length=200)
    amount: Decimal = Field(gt=0, le=9_000_000, max_digits=15, decimal_places=6)
    """At most what is counted exactly in units of 10^-9."""
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    window: Literal["hour", "day", "week", "month", "total"]
    """``week`` begins on Monday; ``total`` never begins anew."""
    hard: Annotated[bool, Field(strict=True)] = True
    """A hard budget refuses calls that could exceed it; a soft one says in the log and metrics that more was spent."""
    when_unavailable: WhenUnavailable = "closed"


class BudgetRule(BudgetSpec):
    """A budget of a tenant."""

    name: RuleName
    tenant: str = DEFAULT_TENANT
    """``*``: every tenant, each counted apart."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"'{name}' is no time zone of the IANA database, such as Europe/Berlin") from error
    return name


class TenantRule(_Rule):
    """What holds for a tenant as a whole."""

    tenant: str
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Where its days begin, for budgets."""


@record
class PolicySet:
    """All rules at one moment. ``version`` differs in a process whenever anything in it does."""

    version: int = 0
    limits: tuple[LimitRule, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    tenants: tuple[TenantRule, ...] = ()

    def timezone_of(self, tenant: str) -> str:
        """The tenant's time zone."""
        return next((rule.timezone for rule in self.tenants if rule.tenant == tenant), "UTC")
