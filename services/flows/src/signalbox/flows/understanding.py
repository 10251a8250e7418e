"""What a message is to an open flow: an answer, a correction, the wish to stop, or something else."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from signalbox.common.arguments import check
from signalbox.common.reading import asks_something, plain, read_numbers, read_yes_no, wants_to_stop
from signalbox.contracts.work import FlowReading, FlowState
from signalbox.flows.book import CompiledSlot
from signalbox.flows.choices import texts_of
from signalbox.flows.corrections import Correction, read_corrections
from signalbox.flows.questions import question
from signalbox.flows.run import Run
from signalbox.flows.slots import convert_slot, is_choice, read_slot

Fit = Literal["exact", "within", "loose", "none"]

_FILLER = frozenset(
    plain(word)
    for word in re.split(
        r"\s+",
        "it is its it's the my a an number no nr please thanks thank you yes ok okay that that's for of on at in and "
        "号 是 是的 号码 编号 请 谢谢 第 个 件 只 双 张 台",
    )
)
_NUMBER = re.compile(r"[-+]?\d[\d,.]*")
_SHORT_WORDS = 3
_SHORT_CHARACTERS = 8
_MOST_WORDS = 5
"""Of what stands for the new value of a number, a date or a choice; more is another sentence."""


def read_message(run: Run, message: str, asked: str, arguments: dict[str, Any]) -> FlowReading:
    """The reading of a message while the question ``asked`` is open."""
    open_question = question(run)
    confirming = asked.startswith("confirm:")
    asks = asks_something(message)
    fit = _yes_or_no(message) if confirming else _fit(run, run.flow.slots.get(asked), message)
    if asks and fit == "exact":
        fit = "within"
    decided = confirming and read_yes_no(message) is not None
    stops = run.flow.flow.cancellable and not decided and wants_to_stop(message, open_question)
    corrections, certain = _from_arguments(run, arguments, asked), False
    if not stops and not corrections:
        answered = fit == "exact" and not confirming
        corrections, certain = _from_words(run, message, asked, weak=not answered and not asks)
    return FlowReading(
        fit=fit,
        stops=stops,
        corrections={} if stops else corrections,
        certain=certain,
        asks=asks,
        question=open_question,
    )


def answer_text(run: Run, message: str, asked: str) -> str:
    """The part of a message that answers: "actually, Ulm" and "the town is Ulm" answer a question with "Ulm"."""
    slot = run.flow.slots.get(asked)
    if slot is None or slot.slot.type != "text" or slot.pattern is not None:
        return message
    for correction in read_corrections(message):
        if correction.name is not None and _called(slot, correction.name):
            return correction.value
    return message


def _yes_or_no(message: str) -> Fit:
    if read_yes_no(message) is None:
        return "none"
    return "exact" if _short(message) else "within"


def _fit(run: Run, slot: CompiledSlot | None, message: str) -> Fit:
    if slot is None:
        return "none"
    if slot.by_model_first:
        return "exact" if is_choice(slot, message) else "none"
    value = read_slot(slot, message, run.today)
    if value is None:
        return "none"
    kind = slot.slot.items if slot.slot.type == "list" else slot.slot.type
    if kind in {"text", "entity"}:
        found = slot.pattern is not None and plain(str(value)) == plain(message)
        return "within" if found else "loose"
    if kind in {"number", "integer"} and _NUMBER.search(message):
        words = plain(_NUMBER.sub(" ", message)).split()
        return "exact" if all(word in _FILLER | _names_of(slot) for word in words) else "within"
    if kind in {"number", "integer"} and message.isascii() and not _short(message):
        # A number word in a sentence ("the one with the zip") is none, unless nothing better is found.
        return "none"
    if kind == "enum":
        return "exact" if is_choice(slot, message) else "within"
    return "exact" if _short(message) else "within"


def _short(message: str) -> bool:
    said = plain(message)
    return len(said.split()) <= _SHORT_WORDS if said.isascii() else len(said) <= _SHORT_CHARACTERS


def _from_arguments(run: Run, arguments: dict[str, Any], asked: str) -> dict[str, Any]:
    """Values that came with the wish for the same flow and are not those that it has."""
    found: dict[str, Any] = {}
    for level in _levels(run):
        for slot_id, slot in run.book.flow(level.flow).slots.items():
            value = convert_slot(slot, arguments.get(slot_id), run.today)
            if value is None or slot_id in found or value == level.slots.get(slot_id):
                continue
            if slot_id != asked or level is not run.state:
                found[slot_id] = value
    return found


def _from_words(run: Run, message: str, asked: str, *, weak: bool) -> tuple[dict[str, Any], bool]:
    """The correction that the words make, and whether they make nothing else; with ``weak`` one that may be both."""
    for correction in read_corrections(message, unmarked=asked.startswith("confirm:")):
        if not correction.strong and not weak:
            continue
        found = _resolved(run, correction, asked)
        if found is not None:
            return {found[0]: found[1]}, correction.strong
    return {}, False


def _resolved(run: Run, correction: Correction, asked: str) -> tuple[str, Any] | None:
    """The slot that a correction changes, with its new value."""
    if correction.name is not None:
        return _by_name(run, correction, asked)
    answered = run.flow.slots.get(asked)
    if answered is not None and not correction.strong and _reads(run, answered, correction.value) is not None:
        return None
    free = answered is not None and _fit(run, answered, correction.value) == "loose"
    candidates = list(_filled(run, asked))
    candidates.sort(key=lambda entry: not _mentioned(entry[0], correction.value))
    if correction.old is not None:
        candidates = [entry for entry in candidates if _same(run, entry[0], correction.old, entry[1])]
    for slot, current in candidates:
        if _is_text(slot) or slot.slot.type == "boolean":
            continue
        value = _reads(run, slot, correction.value)
        if value is None or value == current:
            continue
        # "No 1050, Elm Street" answers a question that takes any text, "2 days ago" is no answer to yes or no.
        if (
            correction.strong
            or not (free or answered is None)
            or _fit(run, slot, correction.value) == "exact"
        ):
            return slot.slot.id, value
    if candidates and correction.strong and not correction.bare and _is_text(candidates[0][0]):
        return candidates[0][0].slot.id, correction.value
    return None


def _by_name(run: Run, correction: Correction, asked: str) -> tuple[str, Any] | None:
    for level in _levels(run):
        for slot_id, slot in run.book.flow(level.flow).slots.items():
            if (slot_id == asked and level is run.state) or not _called(slot, correction.name or ""):
                continue
            value = correction.value if _is_text(slot) else _reads(run, slot, correction.value)
            if value is not None and value != level.slots.get(slot_id):
                return slot_id, value
    return None


def _reads(run: Run, slot: CompiledSlot, text: str) -> Any:
    """The value that a short text has for a slot, if it also has the form that the slot wants."""
    if len(text.split()) > _MOST_WORDS:
        return None
    value = read_slot(slot, text, run.today)
    if value is None:
        return None
    if slot.slot.type in {"number", "integer"} and not _one_number(text):
        return None
    return value if slot.validator is None or not check(slot.validator, value) else None


def _one_number(text: str) -> bool:
    """Whether a text names one number; a number word counts only alone, because "that one" is none."""
    if len(read_numbers(text)) != 1:
        return False
    return _NUMBER.search(text) is not None or not text.isascii() or len(text.split()) == 1


def _filled(run: Run, asked: str) -> Iterator[tuple[CompiledSlot, Any]]:
    """Slots that have a value, the one that was answered last first."""
    for level in _levels(run):
        slots = run.book.flow(level.flow).slots
        answered = [entry.slot for entry in level.done or [] if entry.kind == "answer"]
        order = {slot_id: place for place, slot_id in enumerate(answered)}
        for slot_id in sorted(slots, key=lambda name: order.get(name, -1), reverse=True):
            value = level.slots.get(slot_id)
            if value is not None and not (slot_id == asked and level is run.state):
                yield slots[slot_id], value


def _levels(run: Run) -> list[FlowState]:
    return [run.state, *reversed(run.state.parents)]


def _is_text(slot: CompiledSlot) -> bool:
    return slot.slot.type == "text" and slot.pattern is None


def _same(run: Run, slot: CompiledSlot, text: str, current: Any) -> bool:
    return plain(str(current)) == plain(text) or read_slot(slot, text, run.today) == current


def _called(slot: CompiledSlot, name: str) -> bool:
    """Whether a slot is meant by a name: one of its labels, or words of its id."""
    said = plain(name)
    if not said:
        return False
    labels = {plain(label) for label in texts_of(slot.slot.label)}
    if said in labels or any(not label.isascii() and label in said for label in labels if label):
        return True
    words = set(said.split())
    if any(label and set(label.split()) <= words for label in labels if label.isascii()):
        return True
    return words <= _words_of(slot)


def _mentioned(slot: CompiledSlot, text: str) -> bool:
    """Whether a text has a name of the slot in it, as "order 1043" has."""
    said = plain(text)
    words = set(said.split())
    names = {plain(label) for label in texts_of(slot.slot.label)} or _words_of(slot)
    return any(name in words if name.isascii() else name in said for name in names if name)


def _names_of(slot: CompiledSlot) -> set[str]:
    return _words_of(slot).union(*(plain(label).split() for label in texts_of(slot.slot.label)))


def _words_of(slot: CompiledSlot) -> set[str]:
    return set(plain(re.sub(r"[_.-]", " ", slot.slot.id)).split())
