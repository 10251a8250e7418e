"""A tenant's limits and budgets, read and changed by its operators."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from signalbox.common.ids import now_ms
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.errors import DeclaredInFile, RuleNotFound
from signalbox.llm_gateway.policies.rules import (
    ANY_TENANT,
    BudgetRule,
    BudgetSpec,
    LimitRule,
    LimitSpec,
    RuleName,
)
from signalbox.llm_gateway.policies.source import PolicySource
from signalbox.llm_gateway.policies.store import Change, PolicyStore

Place = Literal["file", "table"]
"""Where a rule is declared: in the operator's file, where no call can change it, or in the tenant's table."""


class LimitView(LimitSpec):
    """A limit that holds for the tenant."""

    model_config = ConfigDict(extra="ignore", defer_build=True)

    name: RuleName
    declared_in: Place


class BudgetView(BudgetSpec):
    """A budget that holds for the tenant."""

    model_config = ConfigDict(extra="ignore", defer_build=True)

    name: RuleName
    declared_in: Place


class LimitList(BaseModel):
    """``GET /llm/v1/limits``."""

    items: list[LimitView]


class ManagedPolicies:
    """What operators of a tenant do with its rules; another tenant's rules are as if they did not exist."""

    def __init__(self, source: PolicySource, store: PolicyStore) -> None:
        self._source = source
        self._store = store

    def limits(self, principal: Principal) -> list[LimitView]:
        """The limits that hold for the principal's tenant."""
        return [
            self._limit_view(rule)
            for rule in self._source.current().limits
            if rule.tenant in {principal.tenant, ANY_TENANT}
        ]

    def budgets(self, principal: Principal) -> list[BudgetRule]:
        """The budgets that hold for the principal's tenant."""
        return [
            rule for rule in self._source.current().budgets if rule.tenant in {principal.tenant, ANY_TENANT}
        ]

    async def put_limit(self, principal: Principal, name: str, spec: LimitSpec) -> LimitView:
        """Store a limit of the tenant. It holds here at once, and within seconds on every replica.

        Raises:
            DeclaredInFile: the operator's file has one of this name.
            StorageUnavailable: the database is away.
        """
        rule = LimitRule(**dict(spec), name=name, tenant=principal.tenant)
        await self._put(principal, rule)
        return self._limit_view(rule)

    async def put_budget(self, principal: Principal, name: str, spec: BudgetSpec) -> BudgetView:
        """Store a budget of the tenant. Raises as ``put_limit`` does."""
        rule = BudgetRule(**dict(spec), name=name, tenant=principal.tenant)
        await self._put(principal, rule)
        return self.view(rule)

    async def delete(self, principal: Principal, kind: type[LimitRule] | type[BudgetRule], name: str) -> None:
        """Delete a rule of the tenant's own.

        Raises:
            RuleNotFound: the tenant has none of this name in its table.
            StorageUnavailable: the database is away.
        """
        found = await self._store.delete(kind, principal.tenant, name)
        if not found:
            what = "limit" if kind is LimitRule else "budget"
            raise RuleNotFound(f"There is no {what} '{name}' that could be deleted; GET lists them.")
        await self._source.refresh()

    async def _put(self, principal: Principal, rule: LimitRule | BudgetRule) -> None:
        if self._source.declares(rule):
            raise DeclaredInFile(
                f"'{rule.name}' is declared in the gateway's file, which goes before; choose another name."
            )
        await self._store.put(rule, Change(principal.subject, now_ms()))
        await self._source.refresh()

    def view(self, rule: BudgetRule) -> BudgetView:
        """A budget as operators see it."""
        place: Place = "file" if self._source.declares(rule) else "table"
        return BudgetView(**rule.model_dump(exclude={"tenant"}), declared_in=place)

    def _limit_view(self, rule: LimitRule) -> LimitView:
        place: Place = "file" if self._source.declares(rule) else "table"
        return LimitView(**rule.model_dump(exclude={"tenant"}), declared_in=place)
