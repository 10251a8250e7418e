"""Plans of calls: prepared when a model is first asked for, and kept until the models that there are change."""

import time
from collections.abc import Mapping, Sequence

from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.deployments import ANY_MODEL, Deployment
from signalbox.llm_gateway.errors import ModelNotFound, NotAChatModel
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.ports import Operation
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.routing.health import Clock, HealthBook
from signalbox.llm_gateway.routing.plan import Candidate, Group, Plan
from signalbox.llm_gateway.routing.rules import ModelRoute

_KEPT_S = 60.0
"""Plans are made anew after this time: prices may have begun to hold since."""

_MAX_KEPT = 1000
_MIX = Tokens(input=3000, output=1000)
"""The call by which deployments are compared that are chosen by price."""


class Planner:
    """Makes plans from the catalog's deployments and the operator's routes."""

    def __init__(
        self,
        catalog: Catalog,
        prices: Prices,
        routes: Sequence[ModelRoute] = (),
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._prices = prices
        self._routes: Mapping[str, ModelRoute] = {route.name: route for route in routes}
        self._default = self._routes.get(ANY_MODEL, ModelRoute(name=ANY_MODEL))
        self._clock = clock
        self.health = HealthBook(clock)
        self._plans: dict[tuple[str, Operation], Plan] = {}
        self._made_of = -1
        self._made_at = 0.0

    async def plan(self, model: str, operation: Operation) -> Plan:
        """Who may answer calls for ``model``.

        Raises:
            ModelNotFound: nobody has the name.
            NotAChatModel: those who have it cannot do this.
        """
        await self._catalog.settle()
        now = self._clock()
        if self._made_of != self._catalog.version or now - self._made_at > _KEPT_S:
            self._plans.clear()
            self._made_of, self._made_at = self._catalog.version, now
        plan = self._plans.get((model, operation))
        if plan is None:
            plan = await self._make(model, operation)
            if len(self._plans) >= _MAX_KEPT:
                self._plans.clear()
            self._plans[model, operation] = plan
        return plan

    async def _make(self, model: str, operation: Operation) -> Plan:
        deployments = self._catalog.find(model)
        able = [deployment for deployment in deployments if _can(deployment, operation)]
        if not able:
            what = "makes no embeddings" if operation == "embeddings" else "does not chat"
            raise NotAChatModel(f"The model '{model}' {what}.", pointer="/model")
        rule = self._routes.get(model, self._default)
        return Plan(
            model,
            await self._group(model, able),
            fallbacks=await self._groups(rule.fallbacks, model, operation),
            larger=await self._groups(rule.context_window_fallbacks, model, operation),
            filtered=await self._groups(rule.content_filter_fallbacks, model, operation),
        )

    async def _groups(self, models: Sequence[str], asked: str, operation: Operation) -> tuple[Group, ...]:
        groups = []
        for model in models:
            if model == asked:
                continue  # A rule for every model may name this one.
            try:
                deployments = self._catalog.find(model)
            except ModelNotFound:
                continue  # A server that offered it has gone; the next source that answers brings a new plan.
            able = [deployment for deployment in deployments if _can(deployment, operation)]
            if able:
                groups.append(await self._group(model, able))
        return tuple(groups)

    async def _group(self, model: str, deployments: Sequence[Deployment]) -> Group:
        rule = self._routes.get(model, self._default)
        deployments = [deployment.serving(model) for deployment in deployments]
        ranks = await self._ranks(deployments) if rule.strategy == "cheapest" else [0] * len(deployments)
        return Group(
            model,
            rule,
            tuple(
                Candidate(deployment, self.health.of(deployment, rule.breaker), rank)
                for deployment, rank in zip(deployments, ranks, strict=True)
            ),
        )

    async def _ranks(self, deployments: Sequence[Deployment]) -> list[int]:
        """Costs of the same call; what has no price, or one in another currency than the first, comes last."""
        prices = [await self._prices.of(deployment) for deployment in deployments]
        currency = next((price.currency for price in prices if price is not None), None)
        costs = [
            price.cost_pico(_MIX) if price is not None and price.currency == currency else None
            for price in prices
        ]
        last = 1 + max((cost for cost in costs if cost is not None), default=0)
        return [last if cost is None else cost for cost in costs]


def _can(deployment: Deployment, operation: Operation) -> bool:
    able = deployment.capabilities
    return able.embeddings is not False if operation == "embeddings" else able.chat
