"""The tools of one snapshot, each compiled once, with its first call: schemas, templates and expressions.

Not when the snapshot is loaded, because a process is ready sooner without what checks JSON schemas.
"""

from collections.abc import Mapping
from typing import Any

from signalbox.common.arguments import Validator, check, compile_schema
from signalbox.common.errors import SignalboxError
from signalbox.common.functions import FunctionCall, RegisteredFunction
from signalbox.common.http_calls import CallFailed, HttpCall
from signalbox.common.record import record
from signalbox.common.template_values import context_values, effective_variables
from signalbox.common.templates import TemplateError, Templates
from signalbox.common.tool_calls import visible_parameters
from signalbox.contracts.config import Tool
from signalbox.contracts.context import CallContext
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.mcp.calls import McpCall

_MAX_NAMED = 5


@record
class CompiledTool:
    """One tool. ``source`` carries it out; a text says why nothing can."""

    tool: Tool
    validator: Validator
    source: HttpCall | FunctionCall | McpCall | str

    @property
    def is_write(self) -> bool:
        """Whether calling it may change something."""
        return self.tool.effect == "write"


class Registry:
    """The tools of one snapshot by id.

    A tool that cannot be compiled does not take the others with it: calling it says what is wrong.
    """

    def __init__(
        self,
        config: WorkflowConfig,
        overrides: Mapping[str, str],
        functions: Mapping[str, RegisteredFunction],
    ) -> None:
        self.config = config
        self._templates = Templates()
        self._variables = effective_variables(config.variables, overrides)
        self._functions = functions
        self._tools = {tool.id: tool for tool in config.tools}
        self._compiled: dict[str, CompiledTool] = {}

    def get(self, tool_id: str) -> CompiledTool:
        """A tool.

        Raises:
            CallFailed: the workflow has none of this name.
        """
        compiled = self._compiled.get(tool_id)
        if compiled is None:
            tool = self._tools.get(tool_id)
            if tool is None:
                raise CallFailed("not_found", f"The workflow has no tool '{tool_id}'.")
            compiled = self._compiled[tool_id] = self._compile(tool)
        return compiled

    def effect(self, tool_id: str) -> str:
        """``read``, ``write``, or ``none`` where the workflow has no such tool."""
        tool = self._tools.get(tool_id)
        return "none" if tool is None else tool.effect

    def values(self, tool: CompiledTool, given: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
        """What the tool's templates see: checked arguments joined with those taken from the session.

        A given argument of the same name as a hidden one is dropped.

        Raises:
            CallFailed: ``invalid_arguments``, with a pointer to the first that is wrong.
        """
        hidden = tool.tool.context
        arguments = {name: value for name, value in given.items() if name not in hidden}
        problems = check(tool.validator, arguments)
        if problems:
            named = "; ".join(f"{item.pointer or '/'}: {item.detail}" for item in problems[:_MAX_NAMED])
            raise CallFailed(
                "invalid_arguments",
                f"The arguments do not fit the tool's parameters: {named}",
                pointer=problems[0].pointer,
            )
        values: dict[str, Any] = {
            "vars": self._variables,
            "context": context_values(context),
            "profile": context.profile,
        }
        try:
            session = self._templates.render_value(hidden, values, name="context") if hidden else {}
        except TemplateError as error:
            raise CallFailed("refused", error.detail) from error
        return {**values, "arguments": {**arguments, **session}}

    def _compile(self, tool: Tool) -> CompiledTool:
        try:
            validator = compile_schema(visible_parameters(tool))
        except SignalboxError as error:
            reason = f"The parameters of tool '{tool.id}' are no usable JSON schema: {error.detail}"
            return CompiledTool(tool, compile_schema({}), reason)
        return CompiledTool(tool, validator, self._source(tool))

    def _source(self, tool: Tool) -> HttpCall | FunctionCall | McpCall | str:
        write = tool.effect == "write"
        if tool.request is not None:
            try:
                return HttpCall(
                    tool.request,
                    self._templates,
                    variables=self._variables,
                    auth=tool.auth,
                    response=tool.response,
                    retry=tool.retry,
                    timeout_ms=tool.timeout_ms,
                    write=write,
                    repeatable=tool.idempotent or not write,
                    name=tool.id,
                    circuit=tool.circuit,
                )
            except SignalboxError as error:
                return f"The request of tool '{tool.id}' cannot be used: {error.detail}"
        if tool.python is not None:
            function = self._functions.get(tool.python)
            if function is None:
                return f"The function '{tool.python}' of tool '{tool.id}' is not installed in this service."
            return FunctionCall(
                function, timeout_s=tool.timeout_ms / 1000, max_bytes=tool.response.max_bytes, write=write
            )
        try:
            return McpCall(tool, self._templates, self._variables)
        except SignalboxError as error:
            return f"The MCP server of tool '{tool.id}' cannot be used: {error.detail}"
