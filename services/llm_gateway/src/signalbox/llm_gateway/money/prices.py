"""What tokens cost: exact decimals, never floats; a model without a price has none, which is not zero.

Prices come from a deployment's own settings, else from the map that litellm ships as a JSON file. The file is
found without importing litellm, read at the first look-up, and only the entries looked up are kept.
"""

import asyncio
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import orjson

from signalbox.llm_gateway.deployments import OPENAI_URL, Deployment, PriceSpec
from signalbox.llm_gateway.protocol import Tokens

PICO = Decimal(10) ** 12
"""The ledger keeps money as integers of 10^-12 units of a currency."""

_MAP_FILE = "model_prices_and_context_window_backup.json"
_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens\Z")
_MAX_KNOWN = 1000
_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Rates:
    """Price of one token of each kind; None: the kind has no price of its own."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None

    def cost(self, tokens: Tokens) -> Decimal:
        """Each token once, at the price of its own kind, else of its total's."""
        plain_input = tokens.input - tokens.cached - tokens.cache_write - tokens.audio_input
        plain_output = tokens.output - tokens.reasoning - tokens.audio_output
        return (
            max(0, plain_input) * self.input
            + tokens.cached * _or(self.cached, self.input)
            + tokens.cache_write * _or(self.cache_write, self.input)
            + tokens.audio_input * _or(self.audio_input, self.input)
            + max(0, plain_output) * self.output
            + tokens.reasoning * _or(self.reasoning, self.output)
            + tokens.audio_output * _or(self.audio_output, self.output)
        )


@dataclass(frozen=True, slots=True)
class Price:
    """Rates in a currency. ``tiers``: from more than so many input tokens on, other rates, for all tokens."""

    currency: str
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()

    def cost_pico(self, tokens: Tokens) -> int:
        """The cost of one attempt, in 10^-12 units of the currency."""
        rates = self.rates
        for threshold, tier in self.tiers:
            if tokens.input > threshold:
                rates = tier
        return int((rates.cost(tokens) * PICO).quantize(Decimal(1), ROUND_HALF_EVEN))


def money(pico: int) -> str:
    """An amount in units of its currency, without an exponent or superfluous zeros."""
    text = f"{Decimal(pico) / PICO:.12f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


class Prices:
    """Prices of deployments."""

    def __init__(self, map_file: Path | None = None) -> None:
        self._map_file = map_file
        self._known: dict[str, Price | None] = {}
        self._reading = asyncio.Lock()

    async def of(self, deployment: Deployment) -> Price | None:
        """The price of a deployment, or None where nobody has declared one."""
        if isinstance(deployment.price, PriceSpec):
            return _declared(deployment.price)
        names = _names(deployment)
        if not names:
            return None
        key = names[0]
        if key not in self._known:
            async with self._reading:
                if key not in self._known:
                    if len(self._known) >= _MAX_KNOWN:
                        self._known.clear()
                    self._known[key] = await asyncio.to_thread(self._look_up, names, deployment)
        return self._known[key]

    def _look_up(self, names: list[str], deployment: Deployment) -> Price | None:
        path = self._map_file or bundled_map()
        if path is None:
            return None
        entries = orjson.loads(path.read_bytes())
        for name in names:
            entry = entries.get(name)
            if entry is None:
                continue
            if (
                name == deployment.price
                or "/" in name
                or entry.get("litellm_provider") == deployment.provider
            ):
                return price_of_entry(entry)
        return None


def bundled_map() -> Path | None:
    """The price map in the installed litellm, found without running any of it."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name(_MAP_FILE)
    return path if path.is_file() else None


def price_of_entry(entry: Mapping[str, Any]) -> Price | None:
    """The price in an entry of litellm's map; None when it names none for input or for a chat's output."""
    rates = _rates(entry, "")
    if rates is None:
        return None
    tiers = []
    for name in entry:
        if match := _TIER.match(name):
            tier = _rates(entry, f"_above_{match[1]}k_tokens")
            if tier is not None:
                tiers.append((int(match[1]) * 1000, tier))
    return Price("USD", rates, tuple(sorted(tiers, key=lambda tier: tier[0])))


def _rates(entry: Mapping[str, Any], suffix: str) -> Rates | None:
    def rate(name: str) -> Decimal | None:
        value = entry.get(name + suffix, entry.get(name))
        # repr of a float is the shortest text that reads as it, so this is the decimal that the file has.
        return Decimal(repr(value)) if isinstance(value, int | float) else None

    given, taken = rate("input_cost_per_token"), rate("output_cost_per_token")
    if given is None or taken is None:
        return None
    return Rates(
        input=given,
        output=taken,
        cached=rate("cache_read_input_token_cost"),
        cache_write=rate("cache_creation_input_token_cost"),
        reasoning=rate("output_cost_per_reasoning_token"),
        audio_input=rate("input_cost_per_audio_token"),
        audio_output=rate("output_cost_per_audio_token"),
    )


def _declared(spec: PriceSpec) -> Price:
    def each(value: Decimal | None) -> Decimal | None:
        return None if value is None else value / _MILLION

    rates = Rates(
        input=spec.input / _MILLION,
        output=spec.output / _MILLION,
        cached=each(spec.cached_input),
        cache_write=each(spec.cache_write),
        reasoning=each(spec.reasoning),
        audio_input=each(spec.audio_input),
        audio_output=each(spec.audio_output),
    )
    return Price(spec.currency, rates)


def _names(deployment: Deployment) -> list[str]:
    """Under which names the price map may have a deployment.

    A server at an address of one's own has no list price, whatever its models are called.
    """
    if isinstance(deployment.price, str):
        return [deployment.price]
    model = deployment.provider_model
    if deployment.kind == "demo" or (deployment.base_url not in {None, OPENAI_URL}):
        return []
    prefixed = f"{deployment.provider}/{model}"
    return [model, prefixed] if deployment.provider == "openai" else [prefixed, model]


def _or(value: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if value is None else value
