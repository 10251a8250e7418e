"""Tools and the choice among them, from Anthropic's protocol to OpenAI's."""

from typing import Any

from signalbox.llm_gateway.messages.parts import Json, cached
from signalbox.llm_gateway.translation.nodes import Node

_CHOICES: dict[str, str] = {"auto": "auto", "any": "required", "none": "none"}


def tool_fields(body: Node) -> Json:
    """The members ``tools``, ``tool_choice`` and ``parallel_tool_calls`` of the chat request, as far as asked for.

    Raises:
        MalformedCall: a tool is not the caller's own, or is not described as the protocol says.
    """
    tools = body.optional("tools")
    if tools is None or not tools.items():
        return {}
    fields: Json = {"tools": [_tool(tool) for tool in tools.items()]}
    choice = body.optional("tool_choice")
    if choice is None:
        return fields
    fields["tool_choice"] = _choice(choice)
    single = choice.optional("disable_parallel_tool_use")
    if single is not None and single.truth():
        fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: Node) -> Json:
    kind = tool.optional("type")
    if kind is not None and kind.text() != "custom":
        raise tool.wrong(
            f"the tool type '{kind.text()}' runs at Anthropic only; declare a tool with an input_schema"
        )
    function: dict[str, Any] = {"name": tool.member("name").text()}
    description = tool.optional("description")
    if description is not None:
        function["description"] = description.text()
    function["parameters"] = tool.member("input_schema").mapping()
    strict = tool.optional("strict")
    if strict is not None:
        function["strict"] = strict.truth()
    return cached({"type": "function", "function": function}, tool)


def _choice(choice: Node) -> str | Json:
    kind = choice.kind()
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.member("name").text()}}
    if kind not in _CHOICES:
        raise choice.wrong("its type must be auto, any, tool or none")
    return _CHOICES[kind]
