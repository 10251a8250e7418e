"""Which deployments a call may use."""

from dataclasses import dataclass, field

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.routing.health import Health
from signalbox.llm_gateway.routing.rules import ModelRoute


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A deployment that may answer. ``price_rank`` orders those of a group, the cheapest first."""

    deployment: Deployment
    health: Health
    price_rank: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The deployments of one model, never empty, and the rule for choosing among them."""

    model: str
    """The name by which callers know it."""
    rule: ModelRoute
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Who may answer a call for ``model``: the model's own group, then others, each for its own kind of failure."""

    model: str
    group: Group
    fallbacks: tuple[Group, ...] = ()
    larger: tuple[Group, ...] = ()
    """For calls that are too long for the group."""
    filtered: tuple[Group, ...] = ()
    """For calls that a content filter refused."""

    deployments: tuple[Deployment, ...] = field(init=False)
    """Every deployment that may answer, each once."""
    prefills: bool = field(init=False)
    """Whether one of those that stand in for each other can go on with a broken answer."""

    def __post_init__(self) -> None:
        """Look at all candidates once, not in each call."""
        groups = (self.group, *self.fallbacks, *self.larger, *self.filtered)
        found = {
            id(candidate.health): candidate.deployment for group in groups for candidate in group.candidates
        }
        object.__setattr__(self, "deployments", tuple(found.values()))
        prefills = any(
            candidate.deployment.prefill
            for group in (self.group, *self.fallbacks)
            for candidate in group.candidates
        )
        object.__setattr__(self, "prefills", prefills)

    @property
    def first(self) -> Deployment:
        """One of the model's own."""
        return self.deployments[0]
