"""The flows of one snapshot, each compiled once, when it is first asked for.

Patterns, schemas and choices are not touched again per message. Not all at once: of a large workflow's flows, few are
used while it is in memory, and the first question to one that was not in memory waits for the one that it runs.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from signalbox.common.arguments import Validator, compile_schema
from signalbox.common.rules import Pattern
from signalbox.common.template_values import effective_variables
from signalbox.common.templates import Templates
from signalbox.contracts.config import BranchStep, CallStep, Flow, SetStep, Slot, Step, SubflowStep, Tool
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.flows.choices import Choices
from signalbox.flows.errors import UnknownFlow


class CompiledSlot:
    """A slot with its pattern, schema and choices."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.pattern = Pattern(slot.pattern) if slot.pattern is not None else None
        schema = slot.validation.json_schema if slot.validation is not None else None
        self.validator: Validator | None = compile_schema(schema) if schema is not None else None
        self.choices = Choices(slot.values)

    @property
    def reads_first_message(self) -> bool:
        """Whether the message that starts the flow may fill it: only where its ``source`` is written out."""
        return "source" in self.slot.model_fields_set and "message" in self.slot.source

    @property
    def by_model_first(self) -> bool:
        """Whether a model is to find the value in an answer, before it is read by rule or instead of that."""
        source = self.slot.source
        return "model" in source and "message" not in source[: source.index("model")]


class CompiledFlow:
    """A flow with its names resolved."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.slots = {slot.id: CompiledSlot(slot) for slot in flow.slots}
        self._positions = {step.id: index for index, step in enumerate(flow.steps) if step.id is not None}

    @property
    def steps(self) -> list[Step]:
        """The steps in order."""
        return self.flow.steps

    def position(self, step_id: str) -> int:
        """Index of a step; a jump to an unknown one ends the flow."""
        return self._positions.get(step_id, len(self.flow.steps))

    @cached_property
    def result_names(self) -> list[str]:
        """Names that calls and subflows save under."""
        names = [step.save_as for step in self.steps if isinstance(step, CallStep | SubflowStep)]
        return [name for name in names if name is not None]

    @cached_property
    def slot_names(self) -> list[str]:
        """Names of slots, and those that ``set`` steps give a value to."""
        names = {name for step in self.steps if isinstance(step, SetStep) for name in step.values}
        return sorted(names | self.slots.keys())


class FlowBook:
    """The flows of one snapshot and what they refer to."""

    def __init__(self, config: WorkflowConfig, overrides: Mapping[str, str]) -> None:
        self.default_language = config.default_language
        self.variables = effective_variables(config.variables, overrides)
        self.templates = Templates()
        self.tools: dict[str, Tool] = {tool.id: tool for tool in config.tools}
        self._described = {flow.id: flow for flow in config.flows}
        self._compiled: dict[str, CompiledFlow] = {}

    def flow(self, flow_id: str) -> CompiledFlow:
        """A flow.

        Raises:
            UnknownFlow: there is none of this name.
            TemplateError, BadJsonSchema, BadPattern: an older release published what this one does not compile.
        """
        flow = self._compiled.get(flow_id)
        if flow is None:
            described = self._described.get(flow_id)
            if described is None:
                raise UnknownFlow(flow_id)
            self._compile_templates(described)
            flow = self._compiled[flow_id] = CompiledFlow(described)
        return flow

    def _compile_templates(self, flow: Flow) -> None:
        """Compile what the steps compute now, so that no message waits for it. Raises TemplateError."""
        for step in flow.steps:
            if isinstance(step, CallStep | SubflowStep):
                self._compile_value(step.arguments)
            elif isinstance(step, SetStep):
                self._compile_value(step.values)
            elif isinstance(step, BranchStep):
                for case in step.cases:
                    self.templates.check_expression(case.when)

    def _compile_value(self, value: Any) -> None:
        if isinstance(value, str):
            self.templates.check(value)
        elif isinstance(value, Mapping | list):
            for item in value.values() if isinstance(value, Mapping) else value:
                self._compile_value(item)
