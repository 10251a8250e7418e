"""The port of what counts: all demands of a call are met at once, or none is."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from signalbox.common.record import record
from signalbox.llm_gateway.admission.demands import Demand, DemandSet

NEVER_MS = -1
"""``Verdict.ms`` of a demand that is larger than its limit."""

UNKNOWN_MS = -2
"""``Verdict.ms`` of a limit of calls at a time: one may end at any moment."""


class Answer(Enum):
    """What became of a reservation."""

    GRANTED = auto()
    REFUSED = auto()
    """``index`` names the first demand without room, ``ms`` when it has some if nothing else changes."""
    STALE = auto()
    """The clock that counts is not in the budgets' windows: it says ``ms``."""
    COLD = auto()
    """The budget ``index`` does not know what was spent before it was first counted."""
    CLOSED = auto()
    """Budgets are being counted anew after what counts was emptied."""


@record
class Verdict:
    """The answer to a reservation.

    ``over`` are granted soft budgets of which more was spent than they have. ``rooms`` is what each window of requests
    and tokens has left, in the order of the demands, where the call was granted or refused.
    """

    answer: Answer
    index: int = 0
    ms: int = 0
    over: tuple[int, ...] = ()
    rooms: Sequence[int] = ()


JUST_GRANTED = Verdict(Answer.GRANTED)
"""The answer to nearly every reservation: granted, and no soft budget is exceeded."""


@record
class Amounts:
    """What a call uses: tokens, and 10^-9 units of money, rounded up."""

    tokens: int
    nano: int


@record
class Used:
    """What a call used in all, and the tokens of each of its extensions."""

    amounts: Amounts
    extensions: tuple[int, ...] = ()


class Counters(Protocol):
    """Counts what calls use. A call is reserved, maybe extended, then settled or given back, then forgotten.

    ``record`` is the ledger row, as bytes, that a call has if this process dies now.
    """

    async def reserve(self, call_id: str, demands: DemandSet, amounts: Amounts, record: bytes) -> Verdict:
        """Meet all demands, or none. A caller that is cancelled gives the call back.

        Raises:
            CacheUnavailable: nobody can count now; the call is not reserved.
        """
        ...

    async def extend(self, call_id: str, number: int, demands: DemandSet, amounts: Amounts) -> Verdict:
        """More for a call that is reserved: its extension ``number``, from 1. Raises as ``reserve`` does."""
        ...

    def end_extension(self, call_id: str, number: int) -> None:
        """What an extension has of calls at a time is free."""
        ...

    def assume(self, call_id: str, demands: DemandSet, amounts: Amounts, record: bytes) -> None:
        """A call is made that could not be counted: it is as soon as it can be, whatever the limits say."""
        ...

    def settle(self, call_id: str, used: Used, record: bytes) -> None:
        """A call has ended. Calls at a time are freed; tokens and money are what was used, requests stay."""
        ...

    def give_back(self, call_id: str) -> None:
        """A call is not made after all: as if it had never been reserved."""
        ...

    def forget(self, call_ids: Sequence[str]) -> None:
        """These calls are in the ledger."""
        ...

    async def counted(self, budget: Demand) -> list[str]:
        """Calls whose cost is in a budget that does not know yet what was spent before.

        Raises:
            CacheUnavailable: nobody can count now.
        """
        ...

    async def seed(self, budget: Demand, counted: int, nano: int) -> bool:
        """Add what was spent before; false when by now other than ``counted`` calls are in it. Raises as above."""
        ...
