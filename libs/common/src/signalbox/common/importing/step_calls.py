"""Steps that ask for values, and steps that call tools."""

from typing import Any

from signalbox.common.importing.flow_context import FlowContext
from signalbox.common.importing.mapping import Mapped
from signalbox.common.importing.names import plain
from signalbox.common.importing.parameters import Parameters, read_parameters
from signalbox.common.importing.requests import writes
from signalbox.common.importing.source import Source
from signalbox.common.importing.step_words import (
    ARGUMENTS,
    KIND_OF,
    PROMPT,
    SAVE,
    SLOT,
    SPOKEN,
    TOOL,
)


class CallSteps(FlowContext):
    """Steps that ask for values and steps that call."""

    def _write_ask(
        self, source: Source, step_id: str, _word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        given = source.entries("slots", "fields", "params")
        if given:
            return [step for each in given for step in self._ask_one(each.source, "", each.key)]
        return self._ask_one(source, step_id, "")

    def _ask_one(self, source: Source, _step_id: str, key: str) -> list[dict[str, Any]]:
        label = source.text(*SLOT) or key
        name = plain(label) or self._known_slot(label)
        prompt = self._draft.texts.localized(source.take(*PROMPT), source.at(*PROMPT), self._scope())
        schema = {
            name: {
                key: source.take(key)
                for key in ("type", "enum", "options", "choices", "default", "slot_type")
                if source.has(key) and str(source.value.get(key)).lower() not in KIND_OF
            }
        }
        if "slot_type" in schema[name]:
            schema[name]["type"] = schema[name].pop("slot_type")
        read = read_parameters(schema, source.path, self._report).properties[name]
        before = self._slots.get(name)
        required = source.flag("required", default=before.required if before is not None else True)
        pattern = (
            source.text("pattern", "regex", "validation_pattern")
            if source.has("pattern", "regex", "validation_pattern")
            else ""
        )
        self._slots[name] = Mapped(
            name,
            {
                **(before.schema if before is not None else {}),
                **read,
                **({"pattern": pattern} if pattern else {}),
            },
            required,
            (before.prompt if before is not None and before.prompt else None) or prompt,
            source.path,
            before.expression if before is not None else None,
            before.pattern if before is not None else None,
        )
        return [{"type": "ask", "slot": name, **({"prompt": prompt} if prompt else {})}]

    def _known_slot(self, label: str) -> str:
        return next(
            (name for name, each in self._slots.items() if each.schema.get("description") == label),
            f"value_{len(self._slots) + 1}",
        )

    def _write_call(
        self, source: Source, step_id: str, word: str, following: str | None
    ) -> list[dict[str, Any]]:
        label = source.text(*TOOL) if source.has(*TOOL) and not self._is_inline(source) else ""
        label = label or (word if self._draft.names["tool"].find(word) else "")
        tool = self._draft.names["tool"].find(label) if label else None
        if tool is None and (skill := self._draft.names["skill"].find(label)) is not None:
            return self._call_skill(source, skill)
        arguments = self._given_arguments(source)
        if tool is None or tool not in self._draft.tool_parts:
            tool = self._inline_tool(source, step_id, list(arguments))
        if tool is None:
            why = "there is no tool of this name in the file."
            self._report.lost(
                source.path, "a step that calls a tool", why, "Add the tool and the step by hand."
            )
            return []
        steps = [self._call(source, tool, arguments, tool)]
        reply = self._draft.texts.localized(source.take(*SPOKEN), source.at(*SPOKEN), self._scope())
        if reply:
            steps.append({"type": "reply", "text": reply})
        return [*steps, *self._after_call(source, steps[-1], following)]

    def _is_inline(self, source: Source) -> bool:
        """Whether the field that would name a tool describes a request."""
        return not isinstance(source.value.get(next(name for name in TOOL if source.has(name))), str)

    def _given_arguments(self, source: Source) -> dict[str, Any]:
        """The arguments of a call: values by name, or names alone."""
        path = source.at(*ARGUMENTS)
        value = source.take(*ARGUMENTS)
        if isinstance(value, list):
            return {str(name): f"{{{{ {self._scope().resolve(str(name)) or 'none'} }}}}" for name in value}
        return self._draft.texts.value(value, path, self._scope()) if isinstance(value, dict) else {}

    def _call(self, source: Source, tool: str, arguments: dict[str, Any], name: str) -> dict[str, Any]:
        """A call step; its result gets a name that later steps know."""
        step: dict[str, Any] = {"type": "call", "tool": tool}
        arguments = arguments or self._arguments_by_name(tool)
        if arguments:
            step["arguments"] = arguments
        step["save_as"] = plain(source.text(*SAVE)) or self._result_name(name)
        self._results.append(step["save_as"])
        return step

    def _after_call(
        self, source: Source, last: dict[str, Any], following: str | None
    ) -> list[dict[str, Any]]:
        """``on_success`` is where a call goes on; the other end of a call is its ``on_error``."""
        target = self._blocks(source, ("on_success", "success"), following)
        if target is None:
            return []
        last["next"] = target[0]
        return target[1]

    def _blocks(
        self, source: Source, names: tuple[str, ...], following: str | None, jumps: tuple[str, ...] = ()
    ) -> tuple[str, list[dict[str, Any]]] | None:
        """Where a way leads, and the steps that are written for it; None where the file says nothing."""
        raise NotImplementedError

    def _arguments_by_name(self, tool: str) -> dict[str, Any]:
        """What a call without arguments passes: the values that are called as the tool's parameters are."""
        part = next((each for each in self._draft.tools if each["id"] == tool), {})
        scope = self._scope()
        names = part.get("parameters", {}).get("properties", {})
        return {name: f"{{{{ {scope.roots[name]} }}}}" for name in names if name in scope.roots}

    def _result_name(self, tool: str) -> str:
        name = plain(tool)
        return name if name not in self._results else f"{name}_{len(self._results) + 1}"

    def _inline_tool(self, source: Source, step_id: str, arguments: list[str]) -> str | None:
        parameters = Parameters()
        for name in (*arguments, *(slot for slot in self._slots if not arguments)):
            parameters.properties[name] = {}
        new = f"{self._part.id}_{step_id}"
        carried = self._draft.requests.read(source, parameters, new)
        if carried is None:
            return None
        tool = self._draft.names["tool"].give(new)
        self._draft.add(
            "tools",
            {
                "id": tool,
                "description": f"A call of the flow {self._part.id}.",
                "parameters": parameters.schema(),
                **carried,
                "effect": "write" if writes(carried["request"]) else "read",
            },
            source.path,
        )
        self._draft.tool_parts[tool] = self._part
        return tool

    def _write_skill(
        self, source: Source, _step_id: str, _word: str, _following: str | None
    ) -> list[dict[str, Any]]:
        label = source.text("skill", "skill_name", "skill_id", "name", "target", "agent")
        skill = self._draft.names["skill"].find(label)
        if skill is None:
            self._report.lost(
                source.path,
                "a step that runs a skill",
                "there is no skill of this name in the file.",
                "Add it by hand.",
            )
            return []
        return self._call_skill(source, skill)

    def _call_skill(self, source: Source, skill: str) -> list[dict[str, Any]]:
        """A function with an endpoint is called as a tool; an agent has no place in a flow."""
        made = next((each for each in self._draft.skills if each["id"] == skill), None)
        if made is None or made["mode"] != "function" or "endpoint" not in made:
            self._report.lost(
                source.path,
                f"a step that runs the skill `{skill}`",
                "flows call tools, and no models.",
                "Let the intent lead to the skill, and give the skill the flow's tools.",
            )
            for names in (ARGUMENTS, SAVE):
                source.take(*names)
            return []
        tool = self._draft.names["tool"].find(f"{skill}_call")
        if tool is None:
            tool = self._draft.names["tool"].give(f"{skill}_call")
            kept: dict[str, Any] = {
                key: made[key]
                for key in ("auth", "timeout_ms", "retry", "response", "idempotent")
                if key in made
            }
            self._draft.add(
                "tools",
                {
                    "id": tool,
                    "description": made.get("description", ""),
                    "request": made["endpoint"],
                    **kept,
                    "parameters": made.get("input_schema", {"type": "object", "properties": {}}),
                    "effect": "write" if writes(made["endpoint"]) else "read",
                },
                source.path,
            )
            self._draft.tool_parts[tool] = self._part
        return [self._call(source, tool, self._given_arguments(source), skill)]
