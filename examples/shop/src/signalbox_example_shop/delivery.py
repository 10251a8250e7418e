"""How long a parcel takes and what sending it costs."""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta

from signalbox_example_shop.errors import NotFoundError, UnprocessableError
from signalbox_example_shop.generator import FREE_SHIPPING_FROM_CENTS, SHIPPING_CENTS
from signalbox_example_shop.models import DeliveryEstimate, Money

EXPRESS_CENTS = 990
ABROAD_CENTS = 1_490


@dataclass(frozen=True, slots=True)
class Country:
    """A country that the shop sends to; `union` says whether it is in the European Union."""

    code: str
    name: str
    name_zh: str
    union: bool = True


COUNTRIES = (
    Country("AT", "Austria", "奥地利"),
    Country("BE", "Belgium", "比利时"),
    Country("CN", "China", "中国", union=False),
    Country("DE", "Germany", "德国"),
    Country("ES", "Spain", "西班牙"),
    Country("FR", "France", "法国"),
    Country("GB", "United Kingdom", "英国", union=False),
    Country("IT", "Italy", "意大利"),
    Country("JP", "Japan", "日本", union=False),
    Country("NL", "Netherlands", "荷兰"),
    Country("PL", "Poland", "波兰"),
    Country("SE", "Sweden", "瑞典"),
    Country("US", "United States", "美国", union=False),
)

_BY_NAME = {
    key: country
    for country in COUNTRIES
    for key in (country.code.lower(), country.name.lower(), country.name_zh)
}
_BY_NAME.update({alias: _BY_NAME[code] for alias, code in (("uk", "gb"), ("usa", "us"), ("holland", "nl"))})


def estimate_delivery(country_name: str, today: date, *, express: bool) -> DeliveryEstimate:
    """Return when a parcel sent `today` arrives in a country, named in English, in Chinese or by its code.

    Raises `NotFoundError` for a country that the shop does not send to, and `UnprocessableError` for express
    outside the European Union.
    """
    country = _BY_NAME.get(country_name.strip().lower().removeprefix("the "))
    if country is None:
        names = ", ".join(known.name for known in COUNTRIES)
        raise NotFoundError(
            "country_not_served", f"The shop does not send to {country_name!r}; it sends to {names}."
        )
    if express and not country.union:
        raise UnprocessableError("express_not_offered", f"There is no express delivery to {country.name}.")
    fastest, slowest = (1, 2) if express else (3, 5) if country.union else (7, 12)
    cents = EXPRESS_CENTS if express else SHIPPING_CENTS if country.union else ABROAD_CENTS
    free_from = None if express or not country.union else Money(cents=FREE_SHIPPING_FROM_CENTS)
    return DeliveryEstimate(
        country=country.name,
        country_zh=country.name_zh,
        express=express,
        earliest_on=after_working_days(today, fastest),
        latest_on=after_working_days(today, slowest),
        price=Money(cents=cents),
        free_from=free_from,
    )


def after_working_days(start: date, days: int) -> date:
    """Return the day that is `days` working days (Monday to Friday) after `start`."""
    day = start
    while days:
        day += timedelta(days=1)
        if day.weekday() < calendar.SATURDAY:
            days -= 1
    return day
