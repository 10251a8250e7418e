"""Limits, budgets and prices in tables, with a number that counts their changes."""

from typing import Any, Protocol

import orjson
from pydantic import BaseModel, ConfigDict

from signalbox.common.auth import SYSTEM_TENANT
from signalbox.common.ids import new_id
from signalbox.common.record import record
from signalbox.common.storage import Database, Statement, Write, insert_into
from signalbox.llm_gateway.money.book import DatedPrice
from signalbox.llm_gateway.policies.rules import BudgetRule, LimitRule


class StoredPolicies(BaseModel):
    """What the tables hold at ``version``, or later. Prices stand in the order in which they were added."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    version: int = 0
    limits: tuple[LimitRule, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    prices: tuple[DatedPrice, ...] = ()


@record
class Change:
    """Who changes something, and when (epoch milliseconds)."""

    by: str
    at: int


class PolicyStore(Protocol):
    """Every call may raise StorageUnavailable."""

    async def version(self) -> int:
        """The number of the last change; 0 before the first."""
        ...

    async def load(self) -> StoredPolicies:
        """Everything of all tenants."""
        ...

    async def put(self, rule: LimitRule | BudgetRule, change: Change) -> None:
        """Store a tenant's rule, in place of the one of this name."""
        ...

    async def delete(self, kind: type[LimitRule] | type[BudgetRule], tenant: str, name: str) -> bool:
        """Delete a tenant's rule; whether there was one."""
        ...

    async def add_price(self, price: DatedPrice, change: Change) -> str:
        """Add a price; its id."""
        ...


_TABLES: dict[type[LimitRule] | type[BudgetRule], str] = {LimitRule: "llm_limits", BudgetRule: "llm_budgets"}
_PRICE = (
    "tenant",
    "price_id",
    "deployment",
    "provider",
    "model",
    "effective_from",
    "price",
    "created_by",
    "created_at",
)

_VERSION = Statement("SELECT version FROM llm_policy_versions WHERE tenant = :tenant")
_NEXT_VERSION = Statement(
    "INSERT INTO llm_policy_versions (tenant, version) VALUES (:tenant, 1)"
    " ON CONFLICT (tenant) DO UPDATE SET version = llm_policy_versions.version + 1"
)
_LIMITS = Statement("SELECT tenant, name, rule FROM llm_limits ORDER BY tenant, name")
_BUDGETS = Statement("SELECT tenant, name, rule FROM llm_budgets ORDER BY tenant, name")
_PRICES = Statement("SELECT price FROM llm_prices WHERE tenant = :tenant ORDER BY created_at, price_id")
_ADD_PRICE = Statement(insert_into("llm_prices", _PRICE))
_PUT = {
    kind: Statement(
        f"{insert_into(table, ('tenant', 'name', 'rule', 'changed_by', 'changed_at'))} ON CONFLICT (tenant, name)"
        " DO UPDATE SET rule = excluded.rule, changed_by = excluded.changed_by, changed_at = excluded.changed_at"
    )
    for kind, table in _TABLES.items()
}
_DELETE = {
    kind: Statement(
        f"DELETE FROM {table} WHERE tenant = :tenant AND name = :name RETURNING name"  # noqa: S608 - names of ours
    )
    for kind, table in _TABLES.items()
}
_COUNT = Write(_NEXT_VERSION, {"tenant": SYSTEM_TENANT})
"""Comes first in every change: its row lock lets changes commit in the order of their numbers."""


class SqlPolicyStore:
    """``PolicyStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """See ``PolicyStore.version``."""
        row = await self._database.fetch_one(_VERSION, {"tenant": SYSTEM_TENANT})
        return 0 if row is None else int(row["version"])

    async def load(self) -> StoredPolicies:
        """See ``PolicyStore.load``."""
        # Read before what it numbers: what is then newer than its number is read once more, which is harmless.
        version = await self.version()
        limits = await self._database.fetch_all(_LIMITS)
        budgets = await self._database.fetch_all(_BUDGETS)
        prices = await self._database.fetch_all(_PRICES, {"tenant": SYSTEM_TENANT})
        return StoredPolicies(
            version=version,
            limits=tuple(LimitRule.model_validate(_rule(row, LimitRule)) for row in limits),
            budgets=tuple(BudgetRule.model_validate(_rule(row, BudgetRule)) for row in budgets),
            prices=tuple(DatedPrice.model_validate(_known(row["price"], DatedPrice)) for row in prices),
        )

    async def put(self, rule: LimitRule | BudgetRule, change: Change) -> None:
        """See ``PolicyStore.put``."""
        row = {
            "tenant": rule.tenant,
            "name": rule.name,
            "rule": rule.model_dump_json(exclude={"tenant", "name"}),
            "changed_by": change.by,
            "changed_at": change.at,
        }
        await self._database.write(_COUNT, Write(_PUT[type(rule)], row))

    async def delete(self, kind: type[LimitRule] | type[BudgetRule], tenant: str, name: str) -> bool:
        """See ``PolicyStore.delete``."""
        _, gone = await self._database.write(_COUNT, Write(_DELETE[kind], {"tenant": tenant, "name": name}))
        return bool(gone)

    async def add_price(self, price: DatedPrice, change: Change) -> str:
        """See ``PolicyStore.add_price``."""
        row = {
            "tenant": SYSTEM_TENANT,
            "price_id": new_id("price"),
            "deployment": price.deployment,
            "provider": price.provider,
            "model": price.model,
            "effective_from": price.since_ms,
            "price": price.model_dump_json(by_alias=True, exclude_none=True),
            "created_by": change.by,
            "created_at": change.at,
        }
        await self._database.write(_COUNT, Write(_ADD_PRICE, row))
        return str(row["price_id"])


def _rule(row: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    return {**_known(row["rule"], kind), "tenant": row["tenant"], "name": row["name"]}


def _known(text: str, kind: type[BaseModel]) -> dict[str, Any]:
    """The members of a stored object that this version knows; a later one may have written more."""
    names = {field.alias or name for name, field in kind.model_fields.items()}
    return {name: value for name, value in orjson.loads(text).items() if name in names}
