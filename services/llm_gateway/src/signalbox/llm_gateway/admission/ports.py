"""What a call asks before it is made, and gives back after it."""

from collections.abc import Mapping
from typing import Protocol

from signalbox.common.context import Deadline
from signalbox.common.record import record
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.records import Labels, LedgerCall


@record
class Opening:
    """A call that asks to be admitted: who makes it, for what, and what it may use at most."""

    call_id: str
    principal: Principal
    labels: Labels
    operation: str
    model: str
    """The name that was asked for."""
    worst: WorstCase
    created_at: int
    """Epoch milliseconds."""
    deadline: Deadline | None
    priority: int = 0
    """Of calls that wait for a limit, those with the larger number are admitted first."""
    trace_id: str | None = None


class Slot(Protocol):
    """One of the attempts at a time that a deployment allows."""

    def free(self) -> None:
        """The attempt is over. Returns at once; later calls have no effect."""
        ...


class Ticket(Protocol):
    """An admitted call. It is given back exactly once, by ``settle``, and with it the slots of its attempts."""

    @property
    def holds_to_worst(self) -> bool:
        """Whether the call may not use more than its worst case, as a hard budget counts on it."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer says of the caller's limits."""
        ...

    async def attempt(self, deployment: Deployment, worst: WorstCase, *, spent_pico: int) -> Slot:
        """Before each attempt: what the deployment itself allows, and what an attempt after others costs more.

        ``spent_pico`` is what the attempts before it cost, or may have cost.

        Raises:
            LimitExceeded: the deployment's own limit; another deployment may be tried.
            BudgetExceeded: no further attempt can be paid for.
        """
        ...

    def settle(self, row: LedgerCall) -> None:
        """The call is over and used what its row says. Returns at once; later calls have no effect."""
        ...


class Admission(Protocol):
    """Admits calls, or says which limit or budget is in the way and when to come again."""

    async def admit(self, opening: Opening) -> Ticket:
        """All limits and budgets of the call at once; a refused call takes nothing from any of them.

        Raises:
            LimitExceeded: 429 with ``Retry-After`` and the limit's name.
            BudgetExceeded: 429 with the budget's name.
            UnpricedModel: a hard budget applies, and what the model costs is not known.
            LimitsUnavailable: what counts cannot be reached, and a policy says that no call is made then.
        """
        ...

    def kept(self, call_ids: list[str]) -> None:
        """The ledger has committed these calls, so nobody else need remember them. Returns at once."""
        ...
