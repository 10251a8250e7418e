"""How calls for a model are routed, as an operator writes it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from signalbox.llm_gateway.deployments import ANY_MODEL

StrategyName = Literal["weighted", "least_busy", "lowest_latency", "cheapest"]

ATTEMPTS_AT_ONE = 6
"""No call asks the same deployment more often, whatever its rule says."""


class _Rule(BaseModel):
    """Part of the gateway's file: a misspelt name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BreakerRule(_Rule):
    """When a deployment is left alone for a while, and for how long."""

    window_s: float = Field(default=30, gt=0, le=3600)
    """Seconds of the past that the rate of failures is taken over."""
    failure_rate: float = Field(default=0.5, gt=0, le=1)
    min_calls: int = Field(default=10, ge=1)
    """Attempts that must be in the window before its rate means anything."""
    consecutive: int = Field(default=5, ge=1)
    """Failures in a row that open the circuit whatever the rate is."""
    open_s: float = Field(default=10, gt=0, le=3600)
    """Seconds until one attempt at a time may try whether the deployment answers again."""


class HedgeRule(_Rule):
    """A second attempt beside one that takes unusually long. The first answer counts; both are paid for."""

    quantile: float = Field(default=0.95, ge=0.5, lt=1)
    """An attempt takes unusually long when this share of the model's answers came sooner."""
    min_samples: int = Field(default=20, ge=5, le=200)
    """Answers that must have been seen before."""
    max_share: float = Field(default=0.1, gt=0, le=1)
    """The share of the model's calls that may be hedged."""


class ModelRoute(_Rule):
    """How calls for the model ``name`` are routed; ``*`` is for models without a rule of their own."""

    name: str = Field(min_length=1, max_length=200)
    strategy: StrategyName = "weighted"
    """Which deployment of the name is asked first."""
    fallbacks: list[str] = []
    """Models that are asked, in order, when no deployment of the name answers."""
    context_window_fallbacks: list[str] = []
    """Models for calls that are too long for this one; without any, those of ``fallbacks`` that may be larger."""
    content_filter_fallbacks: list[str] = []
    """Models for calls that a content filter refused. ``fallbacks`` are never used for these."""
    max_attempts: int = Field(default=3, ge=1, le=20)
    """Attempts at all deployments of the name together, and at most 6 at one."""
    retry_backoff_s: float = Field(default=0.3, ge=0, le=30)
    """Seconds before the same deployment is asked again; doubled each time, and up to half of it less."""
    retry_after_max_s: float = Field(default=5, ge=0, le=300)
    """A provider that says ``Retry-After`` is waited for up to so many seconds; beyond, another one is asked."""
    max_cooldown_s: float = Field(default=300, ge=0, le=86_400)
    """Seconds for which a provider's ``Retry-After`` is believed."""
    breaker: BreakerRule = BreakerRule()
    hedge: HedgeRule | None = None
    """None: no call is hedged. ``{}``: after the time that 95 % of the model's answers take."""

    def named(self) -> list[tuple[str, str]]:
        """Every model that it names beside its own, with the field that does."""
        return [
            (field, model)
            for field in ("fallbacks", "context_window_fallbacks", "content_filter_fallbacks")
            for model in getattr(self, field)
        ]


def wrong_routes(routes: list[ModelRoute], served: set[str]) -> list[str]:
    """What is wrong with routes where deployments ``served`` these names, ``*`` for every one; all at once."""
    wrong = []
    seen: set[str] = set()

    def unknown(model: str) -> bool:
        return model not in served and ANY_MODEL not in served

    for index, route in enumerate(routes):
        place = f"models.{index}"
        if route.name in seen:
            wrong.append(f"{place}.name: '{route.name}' is there twice")
        seen.add(route.name)
        if route.name != ANY_MODEL and unknown(route.name):
            wrong.append(f"{place}.name: no deployment serves '{route.name}'")
        for field, model in route.named():
            if model == route.name:
                wrong.append(f"{place}.{field}: '{model}' cannot stand in for itself")
            elif unknown(model):
                wrong.append(f"{place}.{field}: no deployment serves '{model}'")
    return wrong
