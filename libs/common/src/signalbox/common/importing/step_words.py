"""The words that the earlier format has for steps and their fields."""

END = "flow_end"
TYPE = ("type", "step_type", "action", "action_type", "kind", "node_type", "op")
KINDS = {
    "ask": (
        "ask",
        "collect",
        "input",
        "slot",
        "question",
        "ask_user",
        "collect_slot",
        "get_input",
        "ask_slot",
        "prompt_user",
        "slot_filling",
        "user_input",
        "form",
    ),
    "call": (
        "call",
        "tool",
        "api",
        "tool_call",
        "call_tool",
        "function",
        "http",
        "api_call",
        "request",
        "http_request",
        "call_api",
        "execute",
        "invoke",
        "call_function",
        "function_call",
    ),
    "reply": (
        "reply",
        "message",
        "respond",
        "say",
        "response",
        "output",
        "answer",
        "text",
        "send_message",
        "display",
        "notify_user",
        "show",
    ),
    "branch": ("branch", "condition", "if", "switch", "decision", "conditional", "case", "router", "check"),
    "confirm": ("confirm", "confirmation", "ask_confirm", "user_confirm"),
    "set": ("set", "assign", "variable", "set_variable", "set_slot", "assignment"),
    "subflow": ("subflow", "flow", "goto_flow", "call_flow", "sub_flow", "run_flow"),
    "goto": ("goto", "jump", "go_to"),
    "end": ("end", "finish", "stop", "exit", "terminate", "complete"),
    "action": (
        "handoff",
        "transfer",
        "human",
        "transfer_to_human",
        "transfer_human",
        "escalate",
        "close",
        "end_conversation",
        "close_session",
        "hangup",
        "system_action",
        "update_profile",
        "webhook",
        "update_user_profile",
    ),
    "skill": ("skill", "run_skill", "agent", "call_skill"),
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
ACTION_TYPES = {
    "handoff": "handoff",
    "transfer": "handoff",
    "human": "handoff",
    "transfer_to_human": "handoff",
    "transfer_human": "handoff",
    "escalate": "handoff",
    "human_handoff": "handoff",
    "transfer_to_agent": "handoff",
    "close": "close",
    "end_conversation": "close",
    "close_session": "close",
    "hangup": "close",
    "end": "close",
    "close_conversation": "close",
    "end_session": "close",
    "update_profile": "update_profile",
    "update_user_profile": "update_profile",
    "profile": "update_profile",
    "webhook": "webhook",
    "notify": "webhook",
    "callback": "webhook",
    "http": "webhook",
}
ENDS = frozenset({"end", "exit", "finish", "stop", "done", "__end__", "complete"})
NEXT = ("next", "next_step", "goto", "next_id", "then_goto", "next_node", "target")
TEXT = ("message", "text", "content", "reply", "response", "template", "answer", "say", "output")
SLOT = ("slot", "param", "parameter", "variable", "field", "slot_name", "save_to", "save_as", "var", "name")
PROMPT = ("prompt", "question", "message", "text", "content", "ask")
ARGUMENTS = ("arguments", "args", "params", "parameters", "inputs", "input", "input_mapping", "tool_params")
SAVE = (
    "save_as",
    "output",
    "result",
    "output_variable",
    "result_key",
    "save_to",
    "output_key",
    "assign_to",
    "result_variable",
    "store_as",
)
CONDITION = ("condition", "when", "if", "expression", "expr", "case")
THEN = ("then", "on_true", "if_true", "true", "yes", "true_steps", "next_true", "then_steps", "true_next")
ELSE = (
    "else",
    "on_false",
    "if_false",
    "false",
    "no",
    "false_steps",
    "next_false",
    "else_steps",
    "false_next",
    "default",
    "otherwise",
)
YES = ("on_yes", "yes", "on_confirm", "then", "if_yes", "confirmed")
NO = ("on_no", "no", "on_cancel", "on_deny", "else", "if_no", "cancelled")
TOOL = (
    "tool", "tool_name", "function", "function_name", "api", "api_name", "tool_id", "target", "name",
)  # fmt: skip
SPOKEN = ("reply", "response_template", "response", "message", "reply_template", "success_message")
