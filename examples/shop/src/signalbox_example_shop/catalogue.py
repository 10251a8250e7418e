"""The shop's 300 products: twelve categories, five traits and five series each."""

import itertools
import random
from datetime import date, timedelta
from typing import NamedTuple

from signalbox_example_shop.words import CATEGORIES, SERIES, Bilingual, Category

# Every category numbers its products from here on: JKT-1001, JKT-1002, ...
FIRST_NUMBER = 1001

SOLD_OUT_SHARE = 0.08


class ProductRow(NamedTuple):
    """One product as it is stored; `restock_on` is set exactly when `stock` is 0."""

    sku: str
    name: str
    name_zh: str
    category: str
    description: str
    price_cents: int
    stock: int
    restock_on: str | None


def generate_products(rng: random.Random, today: date) -> list[ProductRow]:
    """Return the whole catalogue in SKU order within each category; prices end in 90 cents."""
    return [
        _product(rng, today, f"{category.prefix}-{number}", category, look)
        for category in CATEGORIES
        for number, look in enumerate(itertools.product(category.traits, SERIES), FIRST_NUMBER)
    ]


def _product(
    rng: random.Random, today: date, sku: str, category: Category, look: tuple[Bilingual, Bilingual]
) -> ProductRow:
    trait, series = look
    stock = 0 if rng.random() < SOLD_OUT_SHARE else rng.randint(1, 60)
    restock_on = None if stock else (today + timedelta(days=rng.randint(4, 21))).isoformat()
    step = rng.randint(0, 8) * 500
    return ProductRow(
        sku=sku,
        name=f"{series.en} {trait.en} {category.noun.en}",
        name_zh=f"{series.zh}{trait.zh}{category.noun.zh}",
        category=category.key,
        description=f"{trait.en.capitalize()} {category.noun.en} of the {series.en} series, tested outdoors.",
        price_cents=category.from_cents + 90 + step * (1 + category.from_cents // 6000),
        stock=stock,
        restock_on=restock_on,
    )
