"""Which tool calls of a model need a person's word first, whose, and how the person is asked."""

import logging
from collections.abc import Sequence
from typing import Any

from signalbox.common.templates import TemplateError
from signalbox.contracts.config import AgentSkill, Policies, Tool
from signalbox.contracts.pauses import Asked, Pause, PauseReason, PendingCall
from signalbox.contracts.query import Choice, ChoicesPart, Part
from signalbox.contracts.work import SkillRunRequest
from signalbox.skills import messages
from signalbox.skills.book import SkillBook

_LOG = logging.getLogger(__name__)
_LONGEST_VALUE = 200
_ORDER: tuple[tuple[PauseReason, Asked], ...] = (
    ("approval", "user"),
    ("approval", "operator"),
    ("unknown_outcome", "operator"),
)
"""Who is asked first where a run waits for several: the user is there now."""


def who_must_agree(skill: AgentSkill, tool: Tool, policies: Policies) -> Asked | None:
    """Whom a call waits for: the skill, the tool, or the workflow's policy says so."""
    if tool.id in skill.approval.tools:
        return skill.approval.by
    if tool.effect != "write" or tool.confirm == "never":
        return None
    return "user" if tool.confirm == "always" or policies.confirm_writes else None


def pending(
    book: SkillBook, request: SkillRunRequest, tool: Tool, arguments: dict[str, Any], call_id: str
) -> PendingCall:
    """A call as a person is shown it: in the tool's own words, else its description with the arguments."""
    shown = {name: value for name, value in arguments.items() if not _is_secret(tool, name)}
    return PendingCall(
        call_id=call_id, tool=tool.id, arguments=shown, summary=_summary(book, request, tool, shown)
    )


def first_of(pauses: Sequence[Pause]) -> Pause:
    """What is asked first of what a run waits for; calls that want the same word of the same person go together."""
    for reason, by in _ORDER:
        calls = [call for pause in pauses if (pause.reason, pause.by) == (reason, by) for call in pause.calls]
        if calls:
            # What became of a write is asked for each by itself: each has a result of its own.
            return Pause(by=by, reason=reason, calls=calls[:1] if reason == "unknown_outcome" else calls)
    raise ValueError("a run that waits waits for somebody")


def question(book: SkillBook, request: SkillRunRequest, pause: Pause) -> tuple[str, list[Part]]:
    """What the user is told of a pause, and what can be picked."""
    context = request.context
    if pause.reason == "unknown_outcome":
        return book.text(messages.UNKNOWN_OUTCOME, context, {}), []
    ask = pause.by == "user"
    lines = [book.text(messages.MAY_I if ask else messages.OPERATOR, context, {})]
    lines += [f"- {call.summary}" for call in pause.calls]
    choices = [
        Choice(label=book.text(messages.YES, context, {}), value="yes"),
        Choice(label=book.text(messages.NO, context, {}), value="no"),
    ]
    return "\n".join(lines), [ChoicesPart(choices=choices)] if ask else []


def _summary(book: SkillBook, request: SkillRunRequest, tool: Tool, arguments: dict[str, Any]) -> str:
    if tool.summary is not None:
        try:
            values = {**book.values(request), "arguments": arguments}
            said = " ".join(book.text(tool.summary, request.context, values).split())
            if said:
                return said
        except TemplateError as error:
            _LOG.warning("the summary of a tool cannot be made: %s", error.detail, extra={"tool": tool.id})
    details = [f"{name.replace('_', ' ')}: {_short(value)}" for name, value in arguments.items()]
    what = tool.description.strip().split("\n")[0].rstrip(".。") or tool.id
    return f"{what} ({', '.join(details)})" if details else what


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _is_secret(tool: Tool, argument: str) -> bool:
    properties = tool.parameters.get("properties")
    part = properties.get(argument) if isinstance(properties, dict) else None
    return isinstance(part, dict) and (part.get("writeOnly") is True or part.get("format") == "password")
