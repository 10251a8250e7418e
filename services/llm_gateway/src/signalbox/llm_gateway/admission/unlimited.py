"""Admission without any limit or budget."""

from signalbox.llm_gateway.admission.ports import Opening, Ticket
from signalbox.llm_gateway.admission.rate_headers import NO_HEADERS
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.records import LedgerCall


class NoSlot:
    """The slot of a deployment that allows any number of attempts."""

    def free(self) -> None:
        """See ``Slot``."""


NO_SLOT = NoSlot()


class UnlimitedTicket:
    """A ticket that nothing was reserved for."""

    holds_to_worst = False
    headers = NO_HEADERS

    async def attempt(self, deployment: Deployment, worst: WorstCase, *, spent_pico: int) -> NoSlot:
        """See ``Ticket``."""
        del deployment, worst, spent_pico
        return NO_SLOT

    def settle(self, row: LedgerCall) -> None:
        """See ``Ticket``."""


UNLIMITED = UnlimitedTicket()


class Unlimited:
    """Admits every call."""

    async def admit(self, opening: Opening) -> Ticket:
        """See ``Admission``."""
        del opening
        return UNLIMITED

    def kept(self, call_ids: list[str]) -> None:
        """See ``Admission``."""
