"""What all steps of a flow share."""

from typing import Any

from signalbox.common.importing.draft import CONTEXT_NAMES, Draft, Part
from signalbox.common.importing.mapping import Mapped
from signalbox.common.importing.names import Names
from signalbox.common.importing.source import Source
from signalbox.common.importing.step_words import (
    ACTION_TYPES,
    END,
    ENDS,
    NEXT,
    TEXT,
)
from signalbox.common.importing.texts import Scope
from signalbox.common.pointers import Path


class FlowContext:
    """One flow while its steps are read: its slots, its results, the ids of its steps, and where jumps lead."""

    def __init__(self, part: Part, slots: dict[str, Mapped], draft: Draft) -> None:
        self._part = part
        self._slots = slots
        self._draft = draft
        self._report = draft.report
        self._ids = Names("step")
        self._step_ids: dict[Path, str] = {}
        self._results: list[str] = []
        self._set: list[str] = []
        self._ends = False

    def on_error(self, source: Source) -> dict[str, Any] | None:
        """``on_error`` of a step or a flow: a reply, a step to go on with, an action."""
        names = ("on_error", "on_failure", "error_handler", "on_fail", "error_message", "fallback")
        if not source.has(*names):
            return None
        path = source.at(*names)
        nested = source.object(*names)
        if nested is None:
            value = source.take(*names)
            jump = self._target(value, path, quiet=True) if isinstance(value, str) else None
            if jump is not None:
                return {"next": jump}
            reply = self._draft.texts.localized(value, path, self._scope())
            return {"reply": reply} if reply else None
        made: dict[str, Any] = {}
        reply = self._draft.texts.localized(nested.take(*TEXT), nested.at(*TEXT), self._scope())
        if reply:
            made["reply"] = reply
        retries = nested.whole("retries", "retry", "max_retries", low=0, high=5)
        if retries:
            made["retries"] = retries
        jump = self._target(nested.take(*NEXT), nested.at(*NEXT)) if nested.has(*NEXT) else None
        action = self._action_of(nested.text("action", "type")) if nested.has("action", "type") else None
        if jump is not None:
            made["next"] = jump
        elif action is not None:
            made["action"] = action
        nested.close()
        return made or None

    def _action_of(self, label: str) -> str | None:
        known = self._draft.names["action"].find(label)
        if known is not None and any(action["id"] == known for action in self._draft.actions):
            return known
        kind = ACTION_TYPES.get(label.lower())
        return self._draft.action(kind, self._part.entry.path) if kind in ("handoff", "close") else None

    def _target(self, value: Any, path: Path, *, quiet: bool = False) -> str | None:
        label = str(value or "").strip()
        known = self._ids.find(label) if label else None
        if known is not None:
            return known
        if label.lower() in ENDS:
            return self._jump(None)
        if not quiet:
            self._report.lost(path, "a jump", "there is no step of this name.", "Name one.")
        return None

    def _jump(self, target: str | None) -> str:
        """A step to go on with; none is the end of the flow."""
        if target is None or target == END:
            self._ends = True
            return END
        return target

    def _scope(self) -> Scope:
        roots = {name: f"vars.{name}" for name in self._draft.requests.variables}
        roots |= {name: f"context.{ours}" for name, ours in CONTEXT_NAMES.items()}
        roots |= {name: name for name in ("context", "vars", "slots", "results", "profile", "message")}
        roots |= {
            "user": "profile",
            "user_input": "message",
            "params": "slots",
            "parameters": "slots",
            "inputs": "slots",
        }
        roots |= {name: f"slots.{name}" for name in (*self._slots, *self._set)}
        for mapped in self._slots.values():
            label = mapped.schema.get("description")
            if isinstance(label, str) and label.isidentifier():
                roots.setdefault(label, f"slots.{mapped.name}")
        last = f"results.{self._results[-1]}" if self._results else None
        if last is not None:
            roots |= {"result": last, "response": last, "output": last, "data": f"{last}.data"}
        roots |= {name: f"results.{name}" for name in self._results}
        return Scope(roots, answer=last)
