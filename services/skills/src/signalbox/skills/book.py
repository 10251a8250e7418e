"""The skills of one snapshot, compiled once: prompts, tool lists, schemas and templates."""

from collections.abc import Mapping
from typing import Any

import orjson

from signalbox.common.arguments import Validator, compile_schema
from signalbox.common.errors import SignalboxError
from signalbox.common.functions import FunctionCall, RegisteredFunction
from signalbox.common.http_calls import HttpCall
from signalbox.common.record import record
from signalbox.common.template_values import context_values, effective_variables
from signalbox.common.templates import Templates
from signalbox.common.tool_calls import visible_parameters
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import AgentSkill, FunctionSkill, Subtask, Tool
from signalbox.contracts.context import CallContext
from signalbox.contracts.work import SkillRunRequest
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.skills.errors import UnknownSkill
from signalbox.skills.prompt import system_prompt

_SUBTASK_PARAMETERS = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What is to be done, with all that is needed for it."}
    },
    "required": ["message"],
}
_READS = frozenset({"GET", "HEAD"})
_LONGEST_NAME = 64


@record
class CompiledAgent:
    """An agent skill. ``offered`` is what a model may call, by the name that it is shown."""

    skill: AgentSkill
    system: str
    offered: dict[str, Tool | Subtask]
    definitions: list[dict[str, Any]]
    """The tools in the form of the chat protocol, in the order of the config."""
    output: Validator | None
    sources: Mapping[str, int]
    """By the name that the model is shown: the tools of knowledge sources, and how many of their passages count."""


@record
class CompiledFunction:
    """A function skill. ``source`` carries it out; a text says why nothing can."""

    skill: FunctionSkill
    source: HttpCall | FunctionCall | str
    input: Validator
    output: Validator | None

    @property
    def writes(self) -> bool:
        """Whether calling it twice may do something twice."""
        endpoint = self.skill.endpoint
        return not self.skill.idempotent and (endpoint is None or endpoint.method not in _READS)


CompiledSkill = CompiledAgent | CompiledFunction


class SkillBook:
    """The skills of one snapshot and what they refer to."""

    def __init__(
        self,
        config: WorkflowConfig,
        overrides: Mapping[str, str],
        functions: Mapping[str, RegisteredFunction],
    ) -> None:
        self.config = config
        self.variables = effective_variables(config.variables, overrides)
        self.templates = Templates()
        tools = {tool.id: tool for tool in config.tools}
        self._skills: dict[str, CompiledSkill] = {}
        for skill in config.skills:
            self._skills[skill.id] = (
                _agent(config, skill, tools)
                if isinstance(skill, AgentSkill)
                else self._function(skill, functions)
            )

    def skill(self, skill_id: str) -> CompiledSkill:
        """A skill.

        Raises:
            UnknownSkill: there is none of this name.
        """
        skill = self._skills.get(skill_id)
        if skill is None:
            raise UnknownSkill(skill_id)
        return skill

    def values(self, request: SkillRunRequest, **more: Any) -> dict[str, Any]:
        """What templates of a run see."""
        return {
            "arguments": request.arguments,
            "parameters": request.arguments,
            "vars": self.variables,
            "context": context_values(request.context),
            "profile": request.context.profile,
            "message": request.message,
            **more,
        }

    def text(self, text: LocalizedText, context: CallContext, values: Mapping[str, Any]) -> str:
        """A text in the turn's language, its variation chosen by the turn. Raises TemplateError."""
        template, _ = self.templates.localized(
            text, context.language, self.config.default_language, context.turn_id
        )
        return self.templates.render_text(template, values).strip()

    def reply_of(self, skill: AgentSkill | FunctionSkill, request: SkillRunRequest, output: Any) -> str:
        """The text that tells an output: the skill's reply, else the output's ``message``, else it as JSON.

        Raises:
            TemplateError: the reply does not fit the output.
        """
        if skill.reply is not None:
            return self.text(skill.reply, request.context, self.values(request, output=output))
        if isinstance(output, str):
            return output
        if isinstance(output, Mapping) and isinstance(output.get("message"), str):
            return str(output["message"])
        return orjson.dumps(output).decode()

    def _function(
        self, skill: FunctionSkill, functions: Mapping[str, RegisteredFunction]
    ) -> CompiledFunction:
        return CompiledFunction(
            skill,
            self._source(skill, functions),
            compile_schema(skill.input_schema),
            compile_schema(skill.output_schema) if skill.output_schema is not None else None,
        )

    def _source(
        self, skill: FunctionSkill, functions: Mapping[str, RegisteredFunction]
    ) -> HttpCall | FunctionCall | str:
        if skill.endpoint is not None:
            write = skill.endpoint.method not in _READS
            try:
                return HttpCall(
                    skill.endpoint,
                    self.templates,
                    variables=self.variables,
                    auth=skill.auth,
                    response=skill.response,
                    retry=skill.retry,
                    timeout_ms=skill.timeout_ms,
                    write=write,
                    repeatable=skill.idempotent or not write,
                    name=skill.id,
                    circuit=skill.circuit,
                )
            except SignalboxError as error:
                return f"The endpoint of skill '{skill.id}' cannot be used: {error.detail}"
        function = functions.get(skill.function or "")
        if function is None:
            return f"The function '{skill.function}' of skill '{skill.id}' is not installed in this service."
        return FunctionCall(
            function,
            timeout_s=skill.timeout_ms / 1000,
            max_bytes=skill.response.max_bytes,
            write=not skill.idempotent,
        )


def _agent(config: WorkflowConfig, skill: AgentSkill, tools: Mapping[str, Tool]) -> CompiledAgent:
    offered: dict[str, Tool | Subtask] = {}
    definitions: list[dict[str, Any]] = []
    on_demand = [source.tool for source in config.knowledge if source.when == "on_demand"]
    names = dict.fromkeys([*skill.tools, *on_demand])
    parts: list[Tool | Subtask] = [tools[name] for name in names if name in tools]
    parts += skill.subtasks
    for part in parts:
        name = _function_name(part, offered)
        offered[name] = part
        parameters = visible_parameters(part) if isinstance(part, Tool) else _subtask_parameters(config, part)
        function = {"name": name, "description": part.description, "parameters": parameters}
        definitions.append({"type": "function", "function": function})
    output = compile_schema(skill.output_schema) if skill.output_schema is not None else None
    counted = {source.tool: source.top_k for source in config.knowledge}
    sources = {
        name: counted[part.id]
        for name, part in offered.items()
        if isinstance(part, Tool) and part.id in counted
    }
    return CompiledAgent(skill, system_prompt(config, skill), offered, definitions, output, sources)


def _subtask_parameters(config: WorkflowConfig, subtask: Subtask) -> dict[str, Any]:
    """What a model gives to a subtask: what is to be done; of a function its input, less what the config gives."""
    skill = next((skill for skill in config.skills if skill.id == subtask.skill), None)
    if not isinstance(skill, FunctionSkill):
        return _SUBTASK_PARAMETERS
    schema = dict(skill.input_schema)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        schema["properties"] = {k: v for k, v in properties.items() if k not in subtask.arguments}
    if isinstance(schema.get("required"), list):
        schema["required"] = [name for name in schema["required"] if name not in subtask.arguments]
    return schema


def _function_name(part: Tool | Subtask, taken: Mapping[str, Any]) -> str:
    """A name that the chat protocol allows: letters, digits, ``_`` and ``-``, 64 at most, and not taken yet."""
    wanted = part.id if isinstance(part, Tool) else f"subtask_{part.id}"
    name = wanted.replace(".", "_")[:_LONGEST_NAME]
    number = 2
    while name in taken:
        suffix = f"_{number}"
        name = wanted.replace(".", "_")[: _LONGEST_NAME - len(suffix)] + suffix
        number += 1
    return name
