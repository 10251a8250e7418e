"""From what was given or written to the value of a slot."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from signalbox.common.reading import in_digits, plain, read_date, read_numbers, read_yes_no
from signalbox.common.rules import normalise
from signalbox.flows.book import CompiledSlot

# Blanks around a separator are taken off afterwards: a pattern that takes them is tried at each of them, and reads what
# follows each time, which took minutes for 50,000.
_SEPARATORS = re.compile(r"([,;、，；\n]|\band\b|和|以及)")
_MAX_ITEMS = 100
_LONGEST_NAME = 4
"""Pieces that the name of a choice may have, such as ``salt and pepper``: one more than it has separators."""


def read_slot(slot: CompiledSlot, message: str, today: date) -> Any:
    """The value that a message has for a slot; None when it has none that can be read without doubt."""
    declared = slot.slot
    if declared.type == "list":
        pieces = _SEPARATORS.split(message)
        if declared.items == "enum":
            return _read_choices(slot, pieces)
        items = [part for part in map(str.strip, pieces[::2]) if part][:_MAX_ITEMS]
        values = [_read(declared.items, slot, item, today) for item in items]
        return values if values and all(value is not None for value in values) else None
    return _read(declared.type, slot, message, today)


def read_answer(slot: CompiledSlot, message: str, today: date) -> Any:
    """The value that the answer to a slot's question has, if the slot takes values from messages.

    One that takes them from a model alone (``source``) still takes a choice that was made: that needs no model.
    """
    if slot.by_model_first and "message" not in slot.slot.source and not is_choice(slot, message):
        return None
    return read_slot(slot, message, today)


def _read_choices(slot: CompiledSlot, pieces: Sequence[str]) -> list[str] | None:
    """The choices that a message names, each once; None where one of its parts is none of them, or several.

    ``pieces`` are texts with the separators between them. A name that has a separator in it is one name.
    """
    found: list[str] = []
    at = 0
    while at < len(pieces) and len(found) < _MAX_ITEMS:
        if not pieces[at].strip():
            at += 2
            continue
        end = at + 1
        for longer in range(at + 3, min(at + 2 * _LONGEST_NAME, len(pieces) + 1), 2):
            if slot.choices.is_name("".join(pieces[at:longer])):
                end = longer
        value = slot.choices.pick("".join(pieces[at:end]).strip())
        if value is None:
            return None
        found.append(value)
        at = end + 1
    return list(dict.fromkeys(found)) or None


def is_choice(slot: CompiledSlot, message: str) -> bool:
    """Whether a message is one of the choices that were offered for the slot, of a list some, and nothing else."""
    if slot.slot.type == "boolean":
        return plain(message) in {"yes", "no"}
    if slot.slot.type == "list" and slot.slot.items == "enum":
        parts = [part for part in map(str.strip, _SEPARATORS.split(message)[::2]) if part]
        return bool(parts) and all(slot.choices.is_whole(part) for part in parts)
    return slot.slot.type == "enum" and slot.choices.is_whole(message)


def convert_slot(slot: CompiledSlot, value: Any, today: date) -> Any:
    """A given value in the slot's type; None when it has none of that type."""
    if value is None:
        return None
    if slot.slot.type == "list":
        items = value if isinstance(value, list) else [value]
        if len(items) == 1 and isinstance(items[0], str):
            return read_slot(slot, items[0], today)
        values = [_convert(slot.slot.items, slot, item, today) for item in items]
        return values if all(item is not None for item in values) else None
    return _convert(slot.slot.type, slot, value, today)


def _convert(kind: str, slot: CompiledSlot, value: Any, today: date) -> Any:
    if isinstance(value, str):
        if kind == "entity" and slot.pattern is not None and slot.pattern.search(normalise(value)) is None:
            return None
        return _read(kind, slot, value, today) if kind != "text" else value.strip() or None
    if isinstance(value, bool):
        return value if kind == "boolean" else None
    if isinstance(value, int | float):
        if kind == "integer":
            return int(value) if float(value).is_integer() else None
        if kind == "number":
            return value
        return (
            slot.choices.pick(str(value))
            if kind == "enum"
            else str(value)
            if kind in {"text", "entity"}
            else None
        )
    return None


def _read(kind: str, slot: CompiledSlot, message: str, today: date) -> Any:
    text = message.strip()
    if kind not in {"enum", "boolean"} and slot.pattern is not None:
        found = slot.pattern.search(normalise(message))
        if found is None and kind in {"number", "integer"}:
            found = slot.pattern.search(normalise(in_digits(message)))
        if found is None:
            return None
        text = found.value
    if kind in {"number", "integer"}:
        return _number(text, whole=kind == "integer")
    if kind == "boolean":
        return read_yes_no(text)
    if kind == "date":
        day = read_date(text, today)
        return day.isoformat() if day is not None else None
    if kind == "enum":
        return slot.choices.pick(text)
    return text or None


def _number(text: str, *, whole: bool) -> int | float | None:
    numbers = read_numbers(text)
    if not numbers:
        return None
    number = numbers[0]
    if not whole:
        return number
    return int(number) if float(number).is_integer() else None
