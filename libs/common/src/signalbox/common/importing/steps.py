"""The steps of a flow. Blocks inside of a branch are written after it, and jump back to what follows."""

from typing import Any

from signalbox.common.importing.names import plain
from signalbox.common.importing.source import Entry, Source, entries
from signalbox.common.importing.step_calls import CallSteps
from signalbox.common.importing.step_words import (
    ARGUMENTS,
    CONDITION,
    ELSE,
    END,
    KIND_OF,
    NEXT,
    NO,
    PROMPT,
    TEXT,
    THEN,
    TYPE,
    YES,
)


class FlowSteps(CallSteps):
    """Writes the steps of one flow. Slots that steps ask for are added to ``slots``."""

    def write(self, given: list[Entry]) -> list[dict[str, Any]]:
        """All steps of the flow."""
        self._foresee(given)
        made = self._block(given, None)
        if self._ends:
            made.append({"id": END, "type": "end"})
        return made

    def _foresee(self, given: list[Entry]) -> None:
        """Give the steps of one level their ids, before any is written: jumps may lead forward."""
        for entry in given:
            named = [
                entry.source.text(name) for name in ("id", "step_id", "node_id") if entry.source.has(name)
            ]
            title = entry.source.value.get("name")
            words = (
                [title] if isinstance(title, str) and self._kind(entry) not in ("call", "ask", "set") else []
            )
            self._step_ids[entry.path] = self._ids.give(
                *named, entry.key, *words, f"step_{len(self._step_ids) + 1}"
            )

    def _block(self, given: list[Entry], after: str | None) -> list[dict[str, Any]]:
        """The steps of one level; the last goes on with ``after``."""
        made: list[dict[str, Any]] = []
        for number, entry in enumerate(given):
            following = self._step_ids[given[number + 1].path] if number + 1 < len(given) else after
            steps = self._step(entry, following)
            last = number + 1 == len(given)
            if (
                last
                and after is not None
                and steps
                and "next" not in steps[-1]
                and steps[-1]["type"] != "end"
            ):
                steps[-1]["next"] = self._jump(after)
            made += steps
        return made

    def _kind(self, entry: Entry) -> str | None:
        source = entry.source
        word = next(
            (str(source.value[key]).lower() for key in TYPE if isinstance(source.value.get(key), str)), ""
        )
        if word in KIND_OF:
            return KIND_OF[word]
        if word and self._draft.names["tool"].find(word):
            return "call"
        if word and self._draft.names["action"].find(word):
            return "action"
        for kind, keys in (
            ("branch", ("condition", "cases", "branches", "if")),
            ("call", ("tool", "tool_name", "api", "url")),
            ("ask", ("slot", "slot_name", "question")),
            ("subflow", ("subflow",)),
            ("skill", ("skill",)),
            ("reply", ("message", "reply", "response", "text", "say")),
        ):
            if not word and source.has(*keys):
                return kind
        return None

    def _step(self, entry: Entry, following: str | None) -> list[dict[str, Any]]:
        source = entry.source
        step_id = self._step_ids[entry.path]
        source.take("id")
        source.take("step_id")
        kind = self._kind(entry)
        type_key = next((key for key in TYPE if isinstance(source.value.get(key), str)), None)
        word = source.text(type_key) if type_key is not None else ""
        self._described(source)
        writer = getattr(self, f"_write_{kind}", None)
        if writer is None:
            said = f"a step of type `{word}`" if word else "a step"
            self._report.lost(
                entry.path,
                said,
                "flows have no such step.",
                "Make it a tool, or move the work to a skill of mode `agent`.",
            )
            return []
        steps: list[dict[str, Any]] = writer(source, step_id, word, following)
        if steps:
            steps[0] = {"id": step_id, **steps[0]}
            on_error = self.on_error(source) if kind == "call" else None
            if on_error is not None:
                steps[0]["on_error"] = on_error
            if "next" not in steps[-1] and source.has(*NEXT) and kind not in ("branch", "confirm"):
                target = self._target(source.take(*NEXT), source.at(*NEXT))
                if target is not None and steps[-1]["type"] != "end":
                    steps[-1]["next"] = target
        source.close()
        return steps

    def _described(self, source: Source) -> None:
        """Names and descriptions of steps are for people who edit them; a step has no place for them."""
        for name in ("description", "desc", "title", "comment", "label", "order", "sequence", "index"):
            source.take(name)
        if isinstance(source.value.get("name"), str) and source.has(
            "tool", "tool_name", "slot", "message", "condition"
        ):
            source.take("name")

    def _write_reply(
        self, source: Source, _step_id: str, _word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        path = source.at(*TEXT)
        text = self._draft.texts.localized(source.take(*TEXT), path, self._scope())
        if not text:
            self._report.lost(source.path, "a reply", "it says nothing.", "Write its text.")
            return []
        return [{"type": "reply", "text": text}]

    def _write_branch(
        self, source: Source, _step_id: str, _word: str, following: str | None
    ) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = []
        blocks: list[dict[str, Any]] = []
        subject = (
            source.text("variable", "switch", "on", "field", "value")
            if source.has("cases", "branches")
            else ""
        )
        for entry in source.entries("cases", "branches", "conditions", "options", words="next"):
            self._case(entry, subject, following, cases, blocks)
        if source.has(*CONDITION) and isinstance(
            source.value.get(next(n for n in CONDITION if source.has(n))), str
        ):
            path = source.at(*CONDITION)
            when = self._draft.texts.condition(source.text(*CONDITION), path, self._scope())
            target = self._blocks(source, THEN, following, NEXT)
            if when is not None:
                cases.append({"when": when, "next": self._jump(target[0] if target else following)})
                blocks += target[1] if target else []
        otherwise = self._blocks(source, ELSE, following)
        goes_on = self._jump(otherwise[0] if otherwise else following)
        if not cases:
            step: dict[str, Any] = {"type": "set", "values": {}, "next": goes_on}
        else:
            step = {"type": "branch", "cases": cases, "next": goes_on}
        return [step, *blocks, *(otherwise[1] if otherwise else [])]

    def _case(
        self,
        entry: Entry,
        subject: str,
        following: str | None,
        cases: list[dict[str, Any]],
        blocks: list[dict[str, Any]],
    ) -> None:
        source = entry.source
        condition = source.text(*CONDITION, "value", "equals") or entry.key
        default = condition.strip().lower() in ("default", "else", "otherwise", "*", "") or source.flag(
            "default", "is_default", default=False
        )
        target = self._blocks(source, (*THEN, "steps", *NEXT), following)
        source.close()
        if default:
            when: str | None = "true"
        elif subject:
            compared = condition if condition.replace(".", "", 1).isdigit() else repr(condition)
            when = self._draft.texts.condition(f"{subject} == {compared}", entry.path, self._scope())
        else:
            when = self._draft.texts.condition(condition, entry.path, self._scope())
        if when is not None:
            cases.append({"when": when, "next": self._jump(target[0] if target else following)})
            blocks += target[1] if target else []

    def _write_confirm(
        self, source: Source, _step_id: str, _word: str, following: str | None
    ) -> list[dict[str, Any]]:
        path = source.at(*PROMPT)
        prompt = self._draft.texts.localized(source.take(*PROMPT), path, self._scope())
        if not prompt:
            prompt = {"en": "Shall I go on?", "zh": "确认继续吗？"}
            self._report.changed(source.path, "a confirmation", "it has no question; one was made up.")
        step: dict[str, Any] = {"type": "confirm", "prompt": prompt}
        yes = self._blocks(source, YES, following, NEXT)
        # A no ends the flow after what is said to it: going on would do what was refused.
        no = self._blocks(source, NO, None)
        if yes is not None:
            step["next"] = self._jump(yes[0])
        elif following is not None or no is not None:
            step["next"] = self._jump(following)
        if no is not None:
            step["on_no"] = self._jump(no[0])
        return [step, *(yes[1] if yes else []), *(no[1] if no else [])]

    def _write_set(
        self, source: Source, _step_id: str, _word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        path = source.at("values", "assignments", "variables", "set")
        values = source.take("values", "assignments", "variables", "set")
        if not isinstance(values, dict):
            name = source.text("variable", "name", "slot", "key", "field")
            path = source.at("value", "expression")
            values = {name: source.take("value", "expression")} if name else {}
        made = {}
        for name, value in values.items():
            ours = plain(str(name))
            if ours:
                made[ours] = self._draft.texts.value(value, path, self._scope())
                self._set.append(ours)
        if not made:
            self._report.lost(source.path, "a step that sets values", "it names none.", "Write it by hand.")
            return []
        return [{"type": "set", "values": made}]

    def _write_subflow(
        self, source: Source, _step_id: str, _word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        flow = self._draft.names["flow"].find(
            source.text("subflow", "flow", "flow_id", "target", "name", "flow_name")
        )
        if flow is None or flow == self._part.id:
            self._report.lost(
                source.path,
                "a step that runs a flow",
                "there is no other flow of this name.",
                "Write it by hand.",
            )
            return []
        path = source.at(*ARGUMENTS)
        value = source.take(*ARGUMENTS)
        step: dict[str, Any] = {"type": "subflow", "flow": flow}
        if isinstance(value, dict) and value:
            step["arguments"] = self._draft.texts.value(value, path, self._scope())
        return [step]

    def _write_goto(
        self, source: Source, _step_id: str, _word: str, following: str | None
    ) -> list[dict[str, Any]]:
        names = (*NEXT, "step", "step_id_target", "to")
        target = self._target(source.take(*names), source.at(*names))
        return [{"type": "set", "values": {}, "next": target or self._jump(following)}]

    def _write_end(
        self, source: Source, _step_id: str, _word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        text = self._draft.texts.localized(source.take(*TEXT), source.at(*TEXT), self._scope())
        step: dict[str, Any] = {"type": "end"}
        action = source.text("action", "system_action") if source.has("action", "system_action") else ""
        if action and (known := self._action_of(action)) is not None:
            step["action"] = known
        outcome = source.text("outcome", "status", "result").lower()
        if outcome in ("cancelled", "failed"):
            step["outcome"] = outcome
        return [{"type": "reply", "text": text}, step] if text else [step]

    def _write_action(
        self, source: Source, _step_id: str, word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        label = source.text("action_id", "action_name", "system_action", "target", "name") or word
        known = self._action_of(label) or self._action_of(word)
        if known is None:
            self._report.lost(
                source.path,
                "a step that takes an action",
                "there is no action of this name.",
                "Write it under `actions` and at the flow's `end`.",
            )
            return []
        text = self._draft.texts.localized(source.take(*TEXT), source.at(*TEXT), self._scope())
        if source.has(*NEXT) or (_following is not None):
            self._report.changed(source.path, "a step that takes an action", "the flow ends with it.")
            source.take(*NEXT)
        steps: list[dict[str, Any]] = [{"type": "end", "action": known}]
        return [{"type": "reply", "text": text}, *steps] if text else steps

    def _blocks(
        self, source: Source, names: tuple[str, ...], following: str | None, jumps: tuple[str, ...] = ()
    ) -> tuple[str, list[dict[str, Any]]] | None:
        """Where a way leads: to a step by name, or to a block of steps, which is written too."""
        name = next((each for each in (*names, *jumps) if source.has(each)), None)
        if name is None:
            return None
        path = source.at(name)
        value = source.take(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            target = self._target(str(value), path, quiet=True)
            if target is not None:
                return target, []
            if name in jumps or (len(str(value).split()) == 1 and str(value).isascii()):
                self._report.lost(path, "a jump", "there is no step of this name.", "Name one.")
                return None
            value = [{"type": "reply", "text": str(value)}]
        if isinstance(value, dict) and (set(value) & {*TYPE, *TEXT, "tool"}):
            value = [value]
        given = entries(value, path, self._report, "type")
        if not given:
            return None
        self._foresee(given)
        after = following if following is not None else END
        block = self._block(given, after)
        self._jump(after)
        if not block:
            return self._jump(following), []
        return str(block[0]["id"]), block
