"""What a flow has done, so that a correction can run it again without repeating it.

A correction runs the flow anew from its first step. Answers and confirmed questions are taken from the journal, calls
whose arguments are the same keep their results, and what was said is not said again. A write is never made twice:
one that the new way does not make again as it was is undone by its compensation, or else the correction is refused.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.contracts.work import Done, FlowState

UNDO = "/undo"
"""What the key of a compensating call ends with."""
_MAX_ENTRIES = 400
"""Things remembered of one flow; a longer one cannot be run again."""


class CannotCorrect(SignalboxError):
    """A correction cannot be carried out; everything is as it was. ``code`` says why."""

    code = "cannot_correct"
    status = 409

    def __init__(self, *, written: bool) -> None:
        super().__init__("A correction cannot be carried out.")
        self.written = written
        """Whether that is because of a write that has no compensation."""


@dataclass
class Rerun:
    """A flow that is run again: what its first run did, and is not matched yet."""

    past: list[Done]
    """Of the innermost flow."""
    results: dict[str, Any]
    outer: list[tuple[list[Done], dict[str, Any]]] = field(default_factory=list)
    """Of the flows that wait for it, outermost first."""
    results_of: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By ``id`` of the entry of an open subflow: its results."""
    overrides: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By ``id`` of the entry of an open subflow: values that its arguments do not replace."""
    writes: dict[str, Done] = field(default_factory=dict)
    """Writes of the first run that were not matched yet, by key."""
    undo: dict[str, dict[str, Any]] = field(default_factory=dict)
    """How to undo them, by key."""

    def take(
        self,
        kind: Literal["answer", "call", "confirm", "reply", "flow"],
        step: int,
        digest: str | None = None,
        slot: str | None = None,
    ) -> Done | None:
        """The next entry of its kind for a step, used up; with a ``digest`` or ``slot``, only one that has the same."""
        for entry in self.past:
            same = digest in (None, entry.digest) and slot in (None, entry.slot)
            if entry.kind == kind and entry.step == step and same:
                self.past.remove(entry)
                if entry.key is not None:
                    self.writes.pop(entry.key, None)
                return entry
        return None

    def enter(self, step: int, flow: str) -> tuple[Done | None, dict[str, Any]]:
        """A subflow begins: its entry, and the values that a correction gave it."""
        entry = self.take("flow", step, slot=flow)
        self.outer.append((self.past, self.results))
        self.past = list(entry.done) if entry is not None else []
        self.results = self.results_of.get(id(entry), {})
        return entry, self.overrides.get(id(entry), {})

    def leave(self) -> None:
        """The innermost flow is over."""
        self.past, self.results = self.outer.pop()


def note(state: FlowState, entry: Done) -> None:
    """Remember something that was done; too much of it is forgotten as a whole."""
    if state.done is None:
        return
    if len(state.done) >= _MAX_ENTRIES:
        state.done = None
    else:
        state.done.append(entry)


def saved(state: FlowState, name: str) -> None:
    """A result is saved under a name: a read that was saved there before has its result no more."""
    for entry in state.done or []:
        if entry.kind == "call" and not entry.write and entry.slot == name:
            entry.digest = None


def digest_of(value: Any) -> str:
    """A short mark that is the same for the same value."""
    data = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(data).hexdigest()[:16]


def rerun_of(levels: list[FlowState]) -> Rerun:
    """The first run of flows, outermost first, as one that is run again.

    Raises:
        CannotCorrect: it is not known what they have done.
    """
    if any(level.done is None for level in levels):
        raise CannotCorrect(written=False)
    rerun = Rerun([], {})
    inner: Done | None = None
    for depth, level in reversed(list(enumerate(levels))):
        done = [*(level.done or []), *([inner] if inner is not None else [])]
        if depth == 0:
            rerun.past, rerun.results = done, level.results
            break
        inner = Done(step=levels[depth - 1].step, kind="flow", slot=level.flow, given=level.given)
        inner.done = done
        rerun.results_of[id(inner)] = level.results
    rerun.writes = {entry.key: entry for entry in _all(rerun.past) if entry.key is not None}
    rerun.undo = {write["key"].removesuffix(UNDO): write for level in levels for write in level.done_writes}
    return rerun


def confirmed(levels: list[FlowState]) -> bool:
    """Whether the user's last word to flows, outermost first, was a yes to a question that asked for one."""
    for level in reversed(levels):
        for entry in reversed(list(_all(level.done or []))):
            if entry.kind in {"answer", "confirm"}:
                return entry.kind == "confirm" and entry.value is True
    return False


def _all(entries: list[Done]) -> Iterator[Done]:
    for entry in entries:
        yield entry
        yield from _all(entry.done)
