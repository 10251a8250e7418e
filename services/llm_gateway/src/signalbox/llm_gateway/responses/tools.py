"""Tools and the choice among them, from the Responses API to a chat request."""

from typing import Any

from signalbox.llm_gateway.translation.nodes import Node

Json = dict[str, Any]

_MODES = frozenset({"auto", "none", "required"})


def tool_fields(body: Node) -> Json:
    """The members ``tools``, ``tool_choice`` and ``parallel_tool_calls`` of the chat request, as far as asked for.

    Raises:
        MalformedCall: a tool is not the caller's own function, or is not described as the protocol says.
    """
    tools = body.optional("tools")
    if tools is None or not tools.items():
        return {}
    fields: Json = {"tools": [_tool(tool) for tool in tools.items()]}
    choice = body.optional("tool_choice")
    if choice is not None:
        fields |= _choice(choice, fields["tools"])
    parallel = body.optional("parallel_tool_calls")
    if parallel is not None:
        fields["parallel_tool_calls"] = parallel.truth()
    return fields


def _tool(tool: Node) -> Json:
    if tool.kind() != "function":
        raise tool.wrong(
            f"the tool type '{tool.kind()}' runs at OpenAI only; declare a tool of type 'function' and answer its calls"
        )
    function: Json = {"name": tool.member("name").text()}
    description = tool.optional("description")
    if description is not None:
        function["description"] = description.text()
    parameters = tool.optional("parameters")
    if parameters is not None:
        function["parameters"] = parameters.mapping()
    strict = tool.optional("strict")
    if strict is not None:
        function["strict"] = strict.truth()
    return {"type": "function", "function": function}


def _choice(choice: Node, tools: list[Json]) -> Json:
    if isinstance(choice.value, str):
        if choice.value not in _MODES:
            raise choice.wrong("must be auto, none, required, or name a function")
        return {"tool_choice": choice.value}
    match choice.kind():
        case "function":
            return {"tool_choice": {"type": "function", "function": {"name": choice.member("name").text()}}}
        case "allowed_tools":
            return _allowed(choice, tools)
        case kind:
            raise choice.wrong(f"the choice '{kind}' is not served by this gateway; name a function")


def _allowed(choice: Node, tools: list[Json]) -> Json:
    """Some of the tools: the others are not sent, which every provider understands."""
    names = {tool.member("name").text() for tool in choice.member("tools").items()}
    allowed = [tool for tool in tools if tool["function"]["name"] in names]
    if len(allowed) != len(names):
        raise choice.member("tools").wrong("every allowed tool must be one of the request's tools")
    mode = choice.member("mode")
    if mode.text() not in {"auto", "required"}:
        raise mode.wrong("must be auto or required")
    return {"tools": allowed, "tool_choice": mode.text()}
