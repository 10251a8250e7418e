"""Admission that is looked at: every call begins and ends here, whoever answers it."""

import logging

from signalbox.llm_gateway.admission import Admission, Opening, Ticket
from signalbox.llm_gateway.records import LedgerCall
from signalbox.llm_gateway.telemetry.metrics import CallMetrics

_LOG = logging.getLogger(__name__)


class ObservedAdmission:
    """Counts what becomes of the calls that ``admission`` admits. What it refuses, it counts itself."""

    def __init__(self, admission: Admission, metrics: CallMetrics) -> None:
        self._admission = admission
        self._metrics = metrics

    async def admit(self, opening: Opening) -> Ticket:
        """See ``Admission``."""
        ticket = await self._admission.admit(opening)
        self._metrics.open += 1
        return ObservedTicket(ticket, self._metrics)

    def kept(self, call_ids: list[str]) -> None:
        """See ``Admission``."""
        self._admission.kept(call_ids)


class ObservedTicket:
    """A ticket that counts its call when it is given back."""

    __slots__ = ("_metrics", "_settled", "_ticket", "attempt", "headers", "holds_to_worst")

    def __init__(self, ticket: Ticket, metrics: CallMetrics) -> None:
        self.attempt = ticket.attempt
        self.headers = ticket.headers
        self.holds_to_worst = ticket.holds_to_worst
        self._ticket = ticket
        self._metrics = metrics
        self._settled = False

    def settle(self, row: LedgerCall) -> None:
        """See ``Ticket``."""
        self._ticket.settle(row)
        if not self._settled:
            self._settled = True
            self._metrics.open -= 1
            try:
                self._metrics.finished(row)
            except Exception:  # noqa: BLE001 - the row is still to be written, whatever counting it comes to
                _LOG.exception("a call could not be counted")
