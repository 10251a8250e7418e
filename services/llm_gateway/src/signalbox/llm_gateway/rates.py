"""What tokens of each kind cost: exact decimals, never floats, each token counted once."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from signalbox.llm_gateway.protocol import Tokens

_PICO = 10**12
PICO = Decimal(_PICO)
"""The ledger keeps money as integers of 10^-12 units of a currency."""

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Rates:
    """Price of one token of each kind; None: the kind costs what its total costs."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    """Written to be kept for an hour; without it the same as ``cache_write``."""
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_input: Decimal | None = None
    image_output: Decimal | None = None

    def cost(self, tokens: Tokens) -> Decimal:
        """Each token once, at the price of its own kind, else of its total's.

        Parts that are reported as more than their total are cut to it, in the order in which they stand here.
        """
        short_writes = tokens.cache_write - tokens.cache_write_1h
        return _each(
            tokens.input,
            self.input,
            (
                (tokens.cached, self.cached),
                (
                    tokens.cache_write_1h,
                    self.cache_write if self.cache_write_1h is None else self.cache_write_1h,
                ),
                (short_writes, self.cache_write),
                (tokens.audio_input, self.audio_input),
                (tokens.image_input, self.image_input),
            ),
        ) + _each(
            tokens.output,
            self.output,
            (
                (tokens.reasoning, self.reasoning),
                (tokens.audio_output, self.audio_output),
                (tokens.image_output, self.image_output),
            ),
        )

    @cached_property
    def dearest_text_input(self) -> Decimal:
        """Of a token of text: read anew, or from or to the provider's cache."""
        return _max(self.input, self.cached, self.cache_write, self.cache_write_1h)

    @cached_property
    def dearest_input(self) -> Decimal:
        """Of a token of any kind."""
        return _max(self.dearest_text_input, self.audio_input, self.image_input)

    @cached_property
    def dearest_text_output(self) -> Decimal:
        """Of a token that is said or thought."""
        return _max(self.output, self.reasoning)

    @cached_property
    def dearest_output(self) -> Decimal:
        """Of a token of any kind."""
        return _max(self.dearest_text_output, self.audio_output, self.image_output)


@dataclass(frozen=True)
class Price:
    """Rates in a currency.

    ``tiers``: from more than so many input tokens on, other rates, for all tokens; ascending. ``request``: what an
    answered attempt costs beside its tokens.
    """

    currency: str
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    request: Decimal = Decimal(0)

    # Most prices are whole numbers of 10^-12 units, and most calls use nothing but text: these need no decimals.

    @cached_property
    def _plain(self) -> tuple[int, int, int] | None:
        return self._integers(self.rates.input, self.rates.output)

    @cached_property
    def _dearest_text(self) -> tuple[int, int, int] | None:
        return self._integers(self.rates.dearest_text_input, self.rates.dearest_text_output)

    def _integers(self, given: Decimal, taken: Decimal) -> tuple[int, int, int] | None:
        """The prices of a token in and out and of the request in 10^-12 units, where that says it all."""
        each = [value * PICO for value in (given, taken, self.request)]
        if self.tiers or any(value != value.to_integral_value() for value in each):
            return None
        return int(each[0]), int(each[1]), int(each[2])

    def cost_pico(self, tokens: Tokens, *, plain_text: bool = False) -> int:
        """The cost of one answered attempt, in 10^-12 units of the currency.

        ``plain_text``: whether it is known that nothing but totals is counted.
        """
        plain = self._plain
        if plain is not None and (plain_text or not tokens.has_parts):
            return tokens.input * plain[0] + tokens.output * plain[1] + plain[2]
        rates = self.rates
        for threshold, tier in self.tiers:
            if tokens.input > threshold:
                rates = tier
        return int(((rates.cost(tokens) + self.request) * PICO).quantize(Decimal(1), ROUND_HALF_EVEN))

    def at_most_pico(self, text: int, media: int, output: int, *, text_only: bool) -> int:
        """What an attempt costs at most with so many tokens of input, rounded up.

        ``text_only``: whether all of the output is text. A tier may be cheaper than what is below it.
        """
        plain = self._dearest_text
        if plain is not None and text_only and not media:
            return text * plain[0] + output * plain[1] + plain[2]
        dearest = Decimal(0)
        for threshold, rates in ((0, self.rates), *self.tiers):
            if threshold and text + media <= threshold:
                break
            said = rates.dearest_text_output if text_only else rates.dearest_output
            cost = text * rates.dearest_text_input + media * rates.dearest_input + output * said
            dearest = max(dearest, cost)
        return int(((dearest + self.request) * PICO).quantize(Decimal(1), ROUND_CEILING))


class _Setting(BaseModel):
    """Part of a file: a misspelt name is an error, and no value is printed in one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RateSpec(_Setting):
    """Prices of a million tokens. A kind without a price costs what its total, input or output, costs."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(default=Decimal(0), ge=0)
    cached_input: Decimal | None = Field(default=None, ge=0)
    """Read from the provider's prompt cache."""
    cache_write: Decimal | None = Field(default=None, ge=0)
    """Written to it, for five minutes where the provider tells them apart."""
    cache_write_1h: Decimal | None = Field(default=None, ge=0)
    """Written to be kept for an hour; without it the same as ``cache_write``."""
    reasoning: Decimal | None = Field(default=None, ge=0)
    audio_input: Decimal | None = Field(default=None, ge=0)
    audio_output: Decimal | None = Field(default=None, ge=0)
    image_input: Decimal | None = Field(default=None, ge=0)
    image_output: Decimal | None = Field(default=None, ge=0)

    def rates(self) -> Rates:
        """The prices of one token."""

        def each(value: Decimal | None) -> Decimal | None:
            return None if value is None else value / _MILLION

        return Rates(
            input=self.input / _MILLION,
            output=self.output / _MILLION,
            cached=each(self.cached_input),
            cache_write=each(self.cache_write),
            cache_write_1h=each(self.cache_write_1h),
            reasoning=each(self.reasoning),
            audio_input=each(self.audio_input),
            audio_output=each(self.audio_output),
            image_input=each(self.image_input),
            image_output=each(self.image_output),
        )


class TierSpec(RateSpec):
    """Prices of all tokens of a call whose input has more than ``above`` tokens."""

    above: int = Field(ge=1)


class PriceSpec(RateSpec):
    """Prices in ``currency`` for a million tokens."""

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    request: Decimal = Field(default=Decimal(0), ge=0)
    """Of every answered request, beside its tokens; not for a million."""
    tiers: list[TierSpec] = []
    """A tier holds until the next one begins, and names every price of its own."""

    @cached_property
    def price(self) -> Price:
        """The same for single tokens."""
        tiers = sorted(((tier.above, tier.rates()) for tier in self.tiers), key=lambda tier: tier[0])
        return Price(self.currency, self.rates(), tuple(tiers), self.request)


def money(pico: int) -> str:
    """An amount in units of its currency, without an exponent or superfluous zeros."""
    whole, part = divmod(abs(pico), _PICO)
    sign = "-" if pico < 0 else ""
    return f"{sign}{whole}.{part:012d}".rstrip("0") if part else f"{sign}{whole}.0"


def _each(total: int, rate: Decimal, parts: tuple[tuple[int, Decimal | None], ...]) -> Decimal:
    """``total`` tokens at ``rate``, those of the parts at theirs."""
    cost, left = Decimal(0), total
    for count, own in parts:
        if count > 0 and own is not None:
            counted = min(count, left)
            left -= counted
            cost += counted * own
    return cost + left * rate


def _max(first: Decimal, *others: Decimal | None) -> Decimal:
    return max((first, *(other for other in others if other is not None)))
