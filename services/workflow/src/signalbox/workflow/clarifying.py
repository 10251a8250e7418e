"""Asking which of several intents was meant, and understanding the answer without a classifier or a model."""

from collections.abc import Sequence
from typing import Literal

from signalbox.common.reading import plain, read_place, read_yes_no
from signalbox.contracts.config import Intent
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.query import Choice, ChoicesPart
from signalbox.workflow.matching import Candidate
from signalbox.workflow.records import Option, Question
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.texts import builtin
from signalbox.workflow.work import Outcome, Work, render

_NEITHER = frozenset(
    {
        "neither", "neither of them", "neither of these", "neither one", "none", "none of them", "none of these",
        "none of those", "something else", "都不是", "两个都不是", "哪个都不是", "以上都不是", "别的", "其他",
    }
)  # fmt: skip
_FEW_WORDS = 2
_FEW_CHARACTERS = 4


def question_about(
    snapshot: WorkflowSnapshot, candidates: Sequence[Candidate], message: str, context: CallContext
) -> Question:
    """What is asked about a message that may have one of several intents; labels are in the turn's language."""
    options = [
        Option(
            intent=entry.intent.id,
            label=_label(snapshot, entry.intent, context),
            score=entry.score,
            parameters=entry.parameters,
        )
        for entry in candidates
    ]
    return Question(message=message, options=options)


def picked(question: Question, message: str) -> Option | Literal["neither"] | None:
    """The option that a whole message picks: by value, by label, or by its place in the list.

    None for a message that is something else, and has to be matched.
    """
    options = question.options
    for option in options:
        if message.strip() == option.intent:
            return option
    said = plain(message)
    for option in options:
        if said and said == plain(option.label):
            return option
    place = read_place(message)
    if place is not None and -1 <= place < len(options):
        return options[place]
    agreed = read_yes_no(message) if _is_short(said) else None
    if said in _NEITHER or agreed is False:
        return "neither"
    # "Yes" to a choice of two says nothing.
    return options[0] if agreed and len(options) == 1 else None


async def ask(question: Question, work: Work) -> Outcome:
    """Put the question: in words with numbers, and as choices."""
    policy = work.snapshot.config.policies.disambiguation
    prompt = render(work, policy.prompt or builtin("this_one" if len(question.options) == 1 else "which"))
    intents = {intent.id: intent for intent in work.snapshot.config.intents}
    for option in question.options:
        # The labels are there already; this notes the languages of those that are not translated.
        label = intents[option.intent].label
        if label is not None:
            render(work, label)
    listed = [f"{number}. {option.label}" for number, option in enumerate(question.options, 1)]
    text = "\n".join([prompt, *listed])
    await work.emit(TextEvent(data=TextData(delta=text)))
    choices = [Choice(label=option.label, value=option.intent) for option in question.options]
    return Outcome(text, "clarify", parts=[ChoicesPart(choices=choices)])


def _is_short(said: str) -> bool:
    """Whether there is no more than yes or no in it: "no, I want my money back" is a new message."""
    return len(said.split()) <= _FEW_WORDS if said.isascii() else len(said) <= _FEW_CHARACTERS


def _label(snapshot: WorkflowSnapshot, intent: Intent, context: CallContext) -> str:
    if intent.label is None:
        return intent.description.strip().rstrip(".。") or intent.id.replace("_", " ")
    return snapshot.render(intent.label, context.language, context.turn_id, snapshot.values(context))
