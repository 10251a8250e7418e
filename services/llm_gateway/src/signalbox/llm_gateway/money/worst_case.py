"""What a call may use at most, which is reserved before it is admitted."""

from collections.abc import Sequence
from dataclasses import dataclass

from signalbox.llm_gateway.money.prices import Price
from signalbox.llm_gateway.protocol import RequestBody, Tokens, estimated_tokens

UNCAPPED_OUTPUT = 4096
"""Output tokens that are reserved where neither the request, the key nor the model has a limit."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """Of one attempt at the dearest deployment that may answer.

    ``cost_pico`` is None when one of the deployments has no price: what it costs is not known, which is not nothing.
    """

    tokens: Tokens
    cost_pico: int | None
    currency: str | None


def worst_case(body: RequestBody, prices: Sequence[Price | None], output_cap: int | None) -> WorstCase:
    """The worst case of a request; ``output_cap`` are the output tokens that it may be answered with."""
    tokens = Tokens(
        input=estimated_tokens(len(body.raw)), output=UNCAPPED_OUTPUT if output_cap is None else output_cap
    )
    priced = [price for price in prices if price is not None]
    currencies = {price.currency for price in priced}
    if len(priced) != len(prices) or len(currencies) != 1:
        return WorstCase(tokens, None, None)
    return WorstCase(tokens, max(price.cost_pico(tokens) for price in priced), currencies.pop())
