"""Which model plays which role when a workflow names none, and why."""

from collections.abc import Callable, Sequence
from typing import get_args

from signalbox.common.record import record
from signalbox.contracts.config.llm import ModelRole
from signalbox.llm_gateway.deployments import ANY_MODEL, DEMO_MODEL, Deployment

ROLES: tuple[ModelRole, ...] = get_args(ModelRole)

_NEEDS: dict[ModelRole, str] = {
    "match": "answers with JSON",
    "decide": "answers with JSON",
    "answer": "calls tools",
    "embed": "embeds",
}


@record
class RoleChoice:
    """The default model of a role (None: there is none), and a sentence that says why."""

    role: ModelRole
    model: str | None
    reason: str


def choose_roles(
    deployments: Sequence[Deployment], chosen: Callable[[ModelRole], str | None], notes: Sequence[str]
) -> list[RoleChoice]:
    """A choice for each role: the operator's, else the first deployment that can do it.

    ``notes`` say why models that one might expect are missing.
    """
    return [_choose(role, deployments, chosen(role), notes) for role in ROLES]


def _choose(
    role: ModelRole, deployments: Sequence[Deployment], chosen: str | None, notes: Sequence[str]
) -> RoleChoice:
    if chosen is not None:
        served = any(deployment.model in {chosen, ANY_MODEL} for deployment in deployments)
        reason = f"chosen by SIGNALBOX_MODEL_{role.upper()} or SIGNALBOX_MODEL"
        return RoleChoice(role, chosen, reason if served else f"{reason}, but no deployment serves it")
    named = [deployment for deployment in deployments if deployment.model != ANY_MODEL]
    if role == "embed":
        able = [deployment for deployment in named if deployment.capabilities.embeddings]
        if not able:
            return RoleChoice(role, None, _why_none("no deployment embeds", notes))
        return RoleChoice(role, able[0].model, f"the first deployment that embeds ({able[0].name})")
    chat = [deployment for deployment in named if deployment.capabilities.chat]
    if not chat:
        return RoleChoice(role, None, _why_none("there is no chat model", notes))
    able = [deployment for deployment in chat if _lacks(role, deployment) is None]
    first = (able or chat)[0]
    if first.model == DEMO_MODEL and first.kind == "demo":
        return RoleChoice(
            role, first.model, _why_none("the built-in demo model, as there is no other", notes)
        )
    if not able:
        what = _lacks(role, first)
        return RoleChoice(
            role,
            first.model,
            f"the first chat model ({first.name}); it lacks {what}, so it is prompted for them",
        )
    return RoleChoice(role, first.model, f"the first deployment that {_NEEDS[role]} ({first.name})")


def _lacks(role: ModelRole, deployment: Deployment) -> str | None:
    if role == "answer":
        return "tools" if deployment.capabilities.tools is False else None
    return "a JSON mode" if deployment.capabilities.json_mode is False else None


def _why_none(reason: str, notes: Sequence[str]) -> str:
    return "; ".join([reason, *notes])
