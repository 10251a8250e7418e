"""Who may call now: limits and budgets, reserved before a call and settled after it."""

from signalbox.llm_gateway.admission.ports import Admission, Opening, Slot, Ticket
from signalbox.llm_gateway.admission.unlimited import NO_SLOT, Unlimited

__all__ = ["NO_SLOT", "Admission", "Opening", "Slot", "Ticket", "Unlimited"]
