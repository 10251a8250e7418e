"""HTTP of limits and budgets, for operators of a tenant."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from signalbox.common.auth import Requires
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.openai_http import OpenAIRoute
from signalbox.llm_gateway.policies.managing import BudgetView, LimitList, LimitView, ManagedPolicies
from signalbox.llm_gateway.policies.rules import BudgetRule, BudgetSpec, LimitRule, LimitSpec
from signalbox.llm_gateway.policies.spending import BudgetList, BudgetReports

router = APIRouter(prefix="/llm/v1", tags=["policies"], route_class=OpenAIRoute)


async def managed_policies(request: Request) -> ManagedPolicies:
    """The tenants' rules."""
    policies: ManagedPolicies = request.app.state.policies
    return policies


async def budget_reports(request: Request) -> BudgetReports:
    """What is left of budgets."""
    reports: BudgetReports = request.app.state.budgets
    return reports


Operator = Annotated[Principal, Depends(Requires(Scope.KEYS_WRITE))]
Managed = Annotated[ManagedPolicies, Depends(managed_policies)]
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


@router.get("/limits")
async def list_limits(principal: Operator, policies: Managed) -> LimitList:
    """The limits that hold for the tenant: its own, and those of the operator's file."""
    return LimitList(items=policies.limits(principal))


@router.put("/limits/{limit_name}")
async def put_limit(principal: Operator, limit_name: Name, body: LimitSpec, policies: Managed) -> LimitView:
    """Set a limit of the tenant. It holds within 5 s on every replica; calls that were admitted go on."""
    return await policies.put_limit(principal, limit_name, body)


@router.delete("/limits/{limit_name}", status_code=204, response_class=Response)
async def delete_limit(principal: Operator, limit_name: Name, policies: Managed) -> None:
    """Delete a limit of the tenant's own."""
    await policies.delete(principal, LimitRule, limit_name)


@router.get("/budgets")
async def list_budgets(
    principal: Operator, reports: Annotated[BudgetReports, Depends(budget_reports)]
) -> BudgetList:
    """The budgets that hold for the tenant, with what calls that are over have spent of each in its window of now."""
    return await reports.of(principal)


@router.put("/budgets/{budget_name}")
async def put_budget(
    principal: Operator, budget_name: Name, body: BudgetSpec, policies: Managed
) -> BudgetView:
    """Set a budget of the tenant. It holds within 5 s on every replica; what was spent before counts."""
    return await policies.put_budget(principal, budget_name, body)


@router.delete("/budgets/{budget_name}", status_code=204, response_class=Response)
async def delete_budget(principal: Operator, budget_name: Name, policies: Managed) -> None:
    """Delete a budget of the tenant's own."""
    await policies.delete(principal, BudgetRule, budget_name)
