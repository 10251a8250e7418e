"""One message on its way through a flow: the state, what was said, and what templates see."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter, ValidationError

from signalbox.common.template_values import context_values, local_date
from signalbox.common.templates import TemplateError, is_foreign, localized
from signalbox.common.web import Emit
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.query import Choice, ChoicesPart, Part
from signalbox.contracts.work import FlowRunRequest, FlowState
from signalbox.flows.book import CompiledFlow, FlowBook
from signalbox.flows.errors import StepFailed
from signalbox.flows.journal import Rerun
from signalbox.flows.ports import ToolCaller

_PARTS: TypeAdapter[list[Part]] = TypeAdapter(list[Part])


@dataclass(slots=True)
class Answer:
    """The message as the answer to the question that the last reply asked; it is used up once."""

    text: str
    asked: str


@dataclass
class Run:
    """The work of one call. ``state`` is that of the innermost flow; those that wait are its ``parents``."""

    book: FlowBook
    request: FlowRunRequest
    tools: ToolCaller
    emit: Emit
    state: FlowState
    answer: Answer | None = None
    texts: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    recheck: set[tuple[str, str]] = field(default_factory=set)
    """Slots, by flow and name, whose values are validated again although they were."""
    rerun: Rerun | None = None
    """What the flow did before, when it is run again after a correction."""
    began: str = field(init=False)
    visits: Counter[str] = field(init=False)
    steps_left: int = 200
    untranslated: set[str] = field(default_factory=set)
    """Languages in which texts were said that the workflow does not have in the turn's."""

    def __post_init__(self) -> None:
        context, place = self.request.context, self.request.place
        self.began = self.state.began or (f"{context.turn_id}/{place}" if place else context.turn_id)
        self.visits = Counter(self.state.visits)

    @property
    def flow(self) -> CompiledFlow:
        """The innermost flow."""
        return self.book.flow(self.state.flow)

    @cached_property
    def today(self) -> date:
        """The turn's date where the user is."""
        return local_date(self.request.context)

    @cached_property
    def _context(self) -> dict[str, Any]:
        return context_values(self.request.context)

    def values(self, **more: Any) -> dict[str, Any]:
        """What templates see now. Slots and results that have no value yet are none."""
        flow, state = self.flow, self.state
        slots = {name: state.slots.get(name) for name in flow.slot_names}
        results = dict.fromkeys(flow.result_names) | state.results
        return {
            **slots,
            **results,
            "slots": slots,
            "results": results,
            "vars": self.book.variables,
            "context": self._context,
            "profile": self.request.context.profile,
            "message": self.request.message,
            **more,
        }

    def key(self, *place: str) -> str:
        """An idempotency key for something done at a place of the flow, its own each time it is done there.

        It is the same in another turn that goes on from the same state: where a turn made a call and came to nothing,
        the next one makes the same call, not another one.
        """
        name = "/".join((self.state.flow, *place))
        self.visits[name] += 1
        visit = self.visits[name]
        repeated = "" if visit == 1 else f".{visit}"
        return f"{self.began}/{name}{repeated}"

    def left(self) -> FlowState:
        """The state as it goes out."""
        return self.state.model_copy(update={"began": self.began, "visits": dict(self.visits)})

    def text(self, text: LocalizedText, values: Mapping[str, Any] | None = None) -> str:
        """A text in the turn's language, its variation chosen by the turn.

        Raises:
            StepFailed: ``template_error``.
        """
        context = self.request.context
        templates = self.book.templates
        template, _ = templates.localized(text, context.language, self.book.default_language, context.turn_id)
        try:
            return templates.render_text(template, self.values() if values is None else values).strip()
        except TemplateError as error:
            raise StepFailed("template_error", error.detail) from error

    def render(self, value: Any) -> Any:
        """A value with its templates rendered.

        Raises:
            StepFailed: ``template_error``.
        """
        try:
            return self.book.templates.render_value(value, self.values())
        except TemplateError as error:
            raise StepFailed("template_error", error.detail) from error

    def is_true(self, expression: str, **more: Any) -> bool:
        """Whether an expression is true.

        Raises:
            StepFailed: ``template_error``.
        """
        try:
            return bool(self.book.templates.evaluate(expression, self.values(**more)))
        except TemplateError as error:
            raise StepFailed("template_error", error.detail) from error

    def say_plainly(self, text: str) -> None:
        """Add a text that is no template to the reply."""
        self.texts.append(text)

    def say(self, text: LocalizedText, values: Mapping[str, Any] | None = None) -> None:
        """Add a text to the reply; ``values`` are all that it sees, where they are given. Raises StepFailed."""
        rendered = self.text(text, values)
        if not rendered:
            return
        self.texts.append(rendered)
        context = self.request.context
        template, tag = localized(text, context.language, self.book.default_language, context.turn_id)
        if tag != context.language and is_foreign(template, tag, context.language):
            self.untranslated.add(tag)

    def show(self, parts: list[dict[str, Any]]) -> None:
        """Add rich parts to the reply, given as templates.

        Raises:
            StepFailed: ``template_error`` or ``bad_part``.
        """
        if not parts:
            return
        try:
            self.parts += _PARTS.validate_python(self.render(parts))
        except ValidationError as error:
            raise StepFailed("bad_part", "A part of the reply has not the form that clients know.") from error

    def offer(self, choices: list[tuple[str, str]]) -> None:
        """Add choices, given as labels and values."""
        made = [Choice(label=label, value=value) for label, value in choices]
        self.parts.append(ChoicesPart(choices=made))

    def list_choices(self, labels: Sequence[str]) -> None:
        """Add choices to the question that was said last, for whoever sees the text alone.

        A question that names all of them stays as it is.
        """
        question = self.texts.pop() if self.texts else ""
        said = question.casefold()
        if not all(label.casefold() in said for label in labels):
            listed = [f"{number}. {label}" for number, label in enumerate(labels, 1)]
            question = "\n".join([question, *listed]).lstrip()
        self.texts.append(question)

    def take_answer(self, asked: str) -> str | None:
        """The user's answer, if it is one to this question and has not been used yet."""
        if self.answer is None or self.answer.asked != asked:
            return None
        text, self.answer = self.answer.text, None
        return text
