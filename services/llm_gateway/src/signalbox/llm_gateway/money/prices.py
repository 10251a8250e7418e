"""What tokens cost: exact decimals, never floats; a model without a price has none, which is not zero.

Prices come from a deployment's own settings, else from the table of prices, the gateway's file, and the map that
litellm ships as a JSON file, in this order. The map is found without importing litellm, read at the first look-up, and
only the entries looked up are kept.
"""

import asyncio
import importlib.util
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from signalbox.common.ids import now_ms
from signalbox.common.record import record
from signalbox.llm_gateway.deployments import OPENAI_URL, Deployment
from signalbox.llm_gateway.money.book import PriceBook
from signalbox.llm_gateway.rates import Price, PriceSpec, Rates

_LOG = logging.getLogger(__name__)

_MAP_FILE = "model_prices_and_context_window_backup.json"
_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens\Z")
_MAX_KNOWN = 1000


@record
class Terms:
    """What is known of a model's money: its price, None where nobody has said one, and its own limit of output."""

    price: Price | None
    max_output: int | None = None


_NOTHING = Terms(None)


@record
class _Known:
    """The terms of a deployment, which may change at ``until_ms``."""

    deployment: Deployment
    terms: Terms
    until_ms: int | None


class Prices:
    """Prices of deployments. ``declared`` are those of the operator: of these it is said which prices are not used."""

    def __init__(
        self,
        map_file: Path | None = None,
        clock: Callable[[], int] = now_ms,
        declared: Sequence[Deployment] = (),
    ) -> None:
        self._map_file = map_file
        self._clock = clock
        self._books: list[PriceBook] = []
        self._known: dict[tuple[str, ...], Terms] = {}
        self._terms: dict[int, _Known] = {}
        """By the deployment's identity: comparing its fields would cost more than looking it up anew."""
        self._reading = asyncio.Lock()
        self._declared = declared
        self._said: set[tuple[str, str]] = set()

    def replace(self, *books: PriceBook) -> None:
        """Go by these books: the first that has a price for a deployment gives it."""
        self._books = [book for book in books if book]
        self._terms.clear()
        self._say_unused()

    def _say_unused(self) -> None:
        """Warn, once of each, of prices that a deployment's own goes before: they look as if they counted."""
        own = [each for each in self._declared if each.price is not None or each.cost is not None]
        unused = {
            (each.name, place) for each in own for book in self._books for place in book.places_of(each)
        }
        for name, place in sorted(unused - self._said):
            _LOG.warning(
                "the deployment '%s' has a price of its own ('price' or 'cost'), which counts; the price of '%s' in "
                "the gateway's file or in the table of prices is not used for it",
                name,
                place,
            )
        self._said |= unused

    async def of(self, deployment: Deployment) -> Price | None:
        """The price of a deployment, or None where nobody has declared one."""
        return (await self.terms(deployment)).price

    def known(self, deployment: Deployment) -> Terms | None:
        """What ``terms`` gives, where that needs nothing to be read."""
        known = self._terms.get(id(deployment))
        if known is None or known.deployment is not deployment:
            return None
        return known.terms if known.until_ms is None or self._clock() < known.until_ms else None

    async def terms(self, deployment: Deployment) -> Terms:
        """What is known of a deployment now; nothing is read for one that was asked for before."""
        terms = self.known(deployment)
        if terms is not None:
            return terms
        if len(self._terms) >= _MAX_KNOWN:
            self._terms.clear()
        now, books = self._clock(), self._books
        terms = await self._find(deployment, now)
        changes = [book.next_change(deployment, now) for book in books]
        until = min((change for change in changes if change is not None), default=None)
        if books is self._books:
            self._terms[id(deployment)] = _Known(deployment, terms, until)
        return terms

    async def _find(self, deployment: Deployment, now: int) -> Terms:
        names = _names(deployment)
        mapped = await self._mapped(names, deployment) if names else _NOTHING
        if deployment.cost is not None:
            return Terms(None, mapped.max_output)
        if isinstance(deployment.price, PriceSpec):
            return Terms(deployment.price.price, mapped.max_output)
        if deployment.price is None:
            for book in self._books:
                price = book.price(deployment, now)
                if price is not None:
                    return Terms(price, mapped.max_output)
        return mapped

    async def _mapped(self, names: tuple[str, ...], deployment: Deployment) -> Terms:
        known = self._known.get(names)
        if known is None:
            async with self._reading:
                known = self._known.get(names)
                if known is None:
                    if len(self._known) >= _MAX_KNOWN:
                        self._known.clear()
                    known = self._known[names] = await asyncio.to_thread(self._look_up, names, deployment)
        return known

    def _look_up(self, names: tuple[str, ...], deployment: Deployment) -> Terms:
        path = self._map_file or bundled_map()
        if path is None:
            return _NOTHING
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
                return Terms(price_of_entry(entry), _whole(entry.get("max_output_tokens")))
        return _NOTHING


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
        cache_write_1h=rate("cache_creation_input_token_cost_above_1hr"),
        reasoning=rate("output_cost_per_reasoning_token"),
        audio_input=rate("input_cost_per_audio_token"),
        audio_output=rate("output_cost_per_audio_token"),
        image_input=rate("input_cost_per_image_token"),
        image_output=rate("output_cost_per_image_token"),
    )


def _names(deployment: Deployment) -> tuple[str, ...]:
    """Under which names the price map may have a deployment.

    A server at an address of one's own has no list price, whatever its models are called.
    """
    if isinstance(deployment.price, str):
        return (deployment.price,)
    model = deployment.provider_model
    if deployment.kind == "demo" or (deployment.base_url not in {None, OPENAI_URL}):
        return ()
    prefixed = f"{deployment.provider}/{model}"
    return (model, prefixed) if deployment.provider == "openai" else (prefixed, model)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
