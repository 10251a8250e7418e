"""The rules that calls obey: limits, budgets, and what a key may do."""

from signalbox.llm_gateway.policies.rules import BudgetRule, LimitRule, PolicySet, TenantRule

__all__ = ["BudgetRule", "LimitRule", "PolicySet", "TenantRule"]
