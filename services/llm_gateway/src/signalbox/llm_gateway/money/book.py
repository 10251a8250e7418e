"""Prices with the time from which on they hold, of deployments or of a provider's models."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.rates import Price, PriceSpec

_Place = tuple[str, str] | str


def _moment(value: Any) -> Any:
    """A day is its first moment, UTC: what YAML reads as a date, and what JSON writes as one."""
    if isinstance(value, str) and len(value) == len("2026-01-31"):
        return f"{value}T00:00:00Z"
    return (
        value
        if isinstance(value, datetime | str)
        else datetime(value.year, value.month, value.day, tzinfo=UTC)
    )


def _with_zone(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its offset, such as 2026-01-31T00:00:00Z; a day begins in UTC")
    return value


class DatedPrice(PriceSpec):
    """Prices of a deployment, by its name, or of a provider's model, wherever it is deployed."""

    deployment: str | None = Field(default=None, min_length=1, max_length=265)
    """As the ledger names it: ``provider/model``."""
    provider: str | None = Field(default=None, min_length=1, max_length=64)
    model: str | None = Field(default=None, min_length=1, max_length=200)
    """The provider's own name of the model."""
    since: Annotated[datetime, BeforeValidator(_moment), AfterValidator(_with_zone)] = Field(
        default=datetime(1970, 1, 1, tzinfo=UTC), alias="from"
    )
    """The first moment at which it holds, until a later one does."""

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        by_model = self.provider is not None and self.model is not None
        if (self.deployment is None) != by_model or (not by_model and (self.provider or self.model)):
            raise ValueError("a price names a deployment, or a provider and its model")
        return self

    @property
    def place(self) -> _Place:
        """What it is the price of."""
        if self.provider is not None and self.model is not None:
            return self.provider, self.model
        return self.deployment or ""

    @property
    def since_ms(self) -> int:
        """Epoch milliseconds."""
        return int(self.since.timestamp() * 1000)


class PriceBook:
    """Prices by what they are of. Of several from the same time on the last one counts: it corrects the others."""

    def __init__(self, prices: Iterable[DatedPrice] = ()) -> None:
        by_place: dict[_Place, dict[int, Price]] = defaultdict(dict)
        for dated in prices:
            by_place[dated.place][dated.since_ms] = dated.price
        self._series = {place: sorted(series.items()) for place, series in by_place.items()}

    def __bool__(self) -> bool:
        return bool(self._series)

    def price(self, deployment: Deployment, now_ms: int) -> Price | None:
        """The price that holds at ``now_ms``: one for the deployment itself, else for its provider's model."""
        for series in self._of(deployment):
            before = bisect_right(series, now_ms, key=_since)
            if before:
                return series[before - 1][1]
        return None

    def next_change(self, deployment: Deployment, now_ms: int) -> int | None:
        """When, after ``now_ms``, another price may hold."""
        later = [since for series in self._of(deployment) for since, _ in series if since > now_ms]
        return min(later, default=None)

    def places_of(self, deployment: Deployment) -> list[str]:
        """For what the book has prices of a deployment, in words; nothing where it has none."""
        return [
            str(place) if isinstance(place, str) else "/".join(place) for place in self._places(deployment)
        ]

    def _of(self, deployment: Deployment) -> list[list[tuple[int, Price]]]:
        return [self._series[place] for place in self._places(deployment)]

    def _places(self, deployment: Deployment) -> list[_Place]:
        places: tuple[_Place, ...] = (deployment.name, (deployment.provider, deployment.provider_model))
        return [place for place in places if place in self._series]


def _since(entry: tuple[int, Price]) -> int:
    return entry[0]
