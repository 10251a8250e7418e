"""Who may call now: limits and budgets, reserved before a call and settled after it."""

from signalbox.llm_gateway.admission.ports import Admission, Opening, Ticket
from signalbox.llm_gateway.admission.unlimited import Unlimited

__all__ = ["Admission", "Opening", "Ticket", "Unlimited"]
