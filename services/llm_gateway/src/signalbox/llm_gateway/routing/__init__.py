"""Which deployments a call may use, in which order, and what a failed attempt means for it."""

from signalbox.llm_gateway.routing.course import Course, Turn
from signalbox.llm_gateway.routing.health import HealthBook, Use
from signalbox.llm_gateway.routing.plan import Candidate, Group, Plan
from signalbox.llm_gateway.routing.planner import Planner
from signalbox.llm_gateway.routing.rules import ModelRoute, wrong_routes

__all__ = [
    "Candidate",
    "Course",
    "Group",
    "HealthBook",
    "ModelRoute",
    "Plan",
    "Planner",
    "Turn",
    "Use",
    "wrong_routes",
]
