"""What tokens cost, and what a call may cost at most."""

from signalbox.llm_gateway.money.book import DatedPrice, PriceBook
from signalbox.llm_gateway.money.prices import Prices, Terms
from signalbox.llm_gateway.money.worst_case import UNCAPPED_OUTPUT, Asked, WorstCase, asked, worst_case
from signalbox.llm_gateway.rates import PICO, Price, Rates, money

__all__ = [
    "PICO",
    "UNCAPPED_OUTPUT",
    "Asked",
    "DatedPrice",
    "Price",
    "PriceBook",
    "Prices",
    "Rates",
    "Terms",
    "WorstCase",
    "asked",
    "money",
    "worst_case",
]
