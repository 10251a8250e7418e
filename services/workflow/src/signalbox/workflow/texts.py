"""What the assistant says where the workflow has no words of its own."""

from typing import Literal

from signalbox.contracts.base import LocalizedText

Name = Literal[
    "failed",
    "fallback",
    "model_unavailable",
    "handoff",
    "close",
    "which",
    "this_one",
    "resume",
    "left",
    "not_done",
]

_TEXTS: dict[Name, dict[str, str | list[str]]] = {
    "failed": {
        "en": "Sorry, that did not work just now. Please try again in a moment.",
        "zh": "抱歉,刚才没有成功。请稍后再试。",
    },
    "fallback": {
        "en": "Sorry, I did not understand that. Could you say it in other words?",
        "zh": "抱歉,我没有听懂。您能换个说法吗?",
    },
    "model_unavailable": {
        "en": "Sorry, I can only answer simple questions at the moment. Please try again later.",
        "zh": "抱歉,我现在只能回答简单的问题。请稍后再试。",
    },
    "handoff": {"en": "I am passing you on to a colleague.", "zh": "我为您转接人工客服。"},
    "which": {"en": "Which of these do you mean?", "zh": "请问您指的是哪一个?"},
    "this_one": {"en": "Is this what you mean?", "zh": "请问您是这个意思吗?"},
    "resume": {
        "en": "Back to {{ flow if flow else 'where we were' }}:",
        "zh": "我们继续{{ flow if flow else '刚才的事' }}：",
    },
    "left": {
        "en": "I leave {{ flow if flow else 'what we had begun' }} for now; ask again when you want to go on.",
        "zh": "{{ flow if flow else '刚才的事' }}先放一放，需要时请再告诉我。",
    },
    "not_done": {"en": "I have not done this: {{ what }}", "zh": "以下操作没有执行：{{ what }}"},
    "close": {"en": "Goodbye!", "zh": "再见!"},
}


def builtin(name: Name) -> LocalizedText:
    """A built-in text, in each language that there is."""
    return {**_TEXTS[name]}
