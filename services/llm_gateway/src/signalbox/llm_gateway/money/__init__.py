"""What tokens cost, and what a call may cost at most."""

from signalbox.llm_gateway.money.prices import PICO, Price, Prices, Rates, money
from signalbox.llm_gateway.money.worst_case import WorstCase, worst_case

__all__ = ["PICO", "Price", "Prices", "Rates", "WorstCase", "money", "worst_case"]
