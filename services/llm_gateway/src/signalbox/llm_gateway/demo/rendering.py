"""What the demo model says: results of tools in a few plain words, marked as its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from signalbox.llm_gateway.demo.words import is_chinese

_MAX_ITEMS = 3
_MAX_FIELDS = 6
_PROSE = 40
_PROSE_MEMBERS = 3
"""A text of so many characters among so few members is an answer of its own; the others are left out."""

_ENVELOPE = frozenset({"output", "result", "data", "ok", "status", "tool", "truncated"})

_WORDS = {
    "en": {
        "mark": " (demo model)",
        "found": "Here is what I found: ",
        "nothing": "I found nothing for that.",
        "failed": "That did not work: ",
        "missing": "I can look that up with {tool}. Please tell me: {missing}.",
        "able": "I can only look things up here, with: {tools}. Try to name what you are looking for.",
        "plain": (
            "I answer when no other model is configured, and I only compare words. Set OPENAI_API_KEY, "
            "OPENAI_BASE_URL or SIGNALBOX_LLM_DEPLOYMENTS for a real model."
        ),
    },
    "zh": {
        "mark": "（演示模型 demo model）",
        "found": "查询结果：",
        "nothing": "没有找到相关内容。",
        "failed": "查询失败：",
        "missing": "我可以用{tool}查询。请告诉我：{missing}。",
        "able": "我只能用这些工具查询：{tools}。请说明您要找什么。",
        "plain": (
            "没有配置其他模型时由我回答，我只会比较词语。"
            "设置 OPENAI_API_KEY、OPENAI_BASE_URL 或 SIGNALBOX_LLM_DEPLOYMENTS 即可使用真正的模型。"
        ),
    },
}


def say(key: str, like: str, **values: str) -> str:
    """One of the demo model's own sentences, in the language of the text ``like``, with its mark."""
    words = _WORDS["zh" if is_chinese(like) else "en"]
    return words[key].format(**values) + words["mark"]


def mark(like: str) -> str:
    """What shows that a text is the demo model's."""
    return _WORDS["zh" if is_chinese(like) else "en"]["mark"]


def report(results: Sequence[str], like: str) -> str:
    """An answer from the results of tools, each as the JSON or text that the caller sent."""
    chinese = is_chinese(like)
    words = _WORDS["zh" if chinese else "en"]
    shown, failures = [], []
    for result in results:
        value = _parsed(result)
        failure = value.get("error") if isinstance(value, dict) else None
        if failure:
            failures.append(describe(failure, chinese=chinese))
        elif text := describe(value, chinese=chinese):
            shown.append(text)
    if shown:
        return words["found"] + ". ".join(shown) + words["mark"]
    if failures:
        return words["failed"] + " ".join(failures) + words["mark"]
    return words["nothing"] + words["mark"]


def describe(value: Any, *, chinese: bool = False) -> str:
    """A value in words; empty for an empty one."""
    if isinstance(value, list):
        items = [text for item in value[:_MAX_ITEMS] if (text := describe(item, chinese=chinese))]
        if items and any(len(item) > _PROSE * 5 for item in items):
            return items[0]
        return "; ".join(items)
    if isinstance(value, dict):
        return _fields(value, chinese=chinese)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _fields(fields: Mapping[str, Any], *, chinese: bool) -> str:
    """The first members that say something, a name first and without its label."""
    prose = next((text for text in fields.values() if isinstance(text, str) and len(text) > _PROSE), None)
    if prose is not None and len(fields) <= _PROSE_MEMBERS:
        return prose
    title, parts = "", []
    for name, member in fields.items():
        translated = f"{name}_zh" in fields
        if (translated and chinese) or (name.endswith("_zh") and not chinese):
            continue
        text = describe(member, chinese=chinese)
        label = name.removesuffix("_zh").replace("_", " ")
        if label in {"name", "title"} and not title:
            title = text
        elif text:
            parts.append(f"{label}: {text}")
    rest = ", ".join(parts[:_MAX_FIELDS])
    return f"{title} ({rest})" if title and rest else title or rest


def _parsed(text: str) -> Any:
    """A result as a value, out of the envelope that its caller may have put it into."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if isinstance(value, dict):
        for name in ("output", "result", "data"):
            if name in value and set(value) <= _ENVELOPE:
                return value[name]
    return value
