"""Admission without any limit or budget."""

from signalbox.llm_gateway.admission.ports import Opening, Ticket
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.records import LedgerCall


class UnlimitedTicket:
    """A ticket that nothing was reserved for."""

    async def attempt(self, deployment: Deployment, worst: WorstCase, *, spent_pico: int) -> None:
        """See ``Ticket``."""

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
