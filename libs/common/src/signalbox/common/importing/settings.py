"""The settings of the whole: name, languages, persona, greeting, procedure, constraints, iterations, variables."""

import re
from collections.abc import Mapping
from typing import Any

from signalbox.common.importing.draft import Draft
from signalbox.common.importing.names import identifier
from signalbox.common.importing.source import Source, is_localized
from signalbox.common.importing.texts import tag
from signalbox.common.pointers import Path
from signalbox.common.validation.secrets_check import is_secret_name

_LANGUAGES = {
    "english": "en",
    "英文": "en",
    "英语": "en",
    "chinese": "zh",
    "中文": "zh",
    "汉语": "zh",
    "简体中文": "zh",
    "simplified chinese": "zh",
    "mandarin": "zh",
    "traditional chinese": "zh-Hant",
    "繁体中文": "zh-Hant",
    "繁體中文": "zh-Hant",
    "cn": "zh",
    "zh-cn": "zh",
    "zh_cn": "zh",
    "zh-tw": "zh-Hant",
    "zh_tw": "zh-Hant",
    "en-us": "en",
    "en_us": "en",
    "en-gb": "en",
    "japanese": "ja",
    "日本語": "ja",
    "日语": "ja",
    "korean": "ko",
    "韩语": "ko",
    "french": "fr",
    "german": "de",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "russian": "ru",
    "dutch": "nl",
    "polish": "pl",
}
_TAG = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*\Z")
_AUTO = frozenset({"auto", "automatic", "multi", "multilingual", "any", "detect", "自动"})
_HAN = re.compile(r"[\u4e00-\u9fff]")
_NAMES = ("name", "bot_name", "agent_name", "assistant_name", "workflow_name", "title")
_ID = ("workflow_id", "agent_id", "bot_id", "app_id", "id")
_FALLBACK = (
    "fallback",
    "fallback_message",
    "fallback_response",
    "default",
    "default_response",
    "default_reply",
    "unknown",
    "no_answer",
    "not_understood",
)
_FAILED = ("error", "error_message", "error_response", "failure", "system_error")
_STYLE = (
    "style",
    "format",
    "response_style",
    "tone",
    "length",
    "rules",
    "instruction",
    "instructions",
    "guidelines",
)
_SINGLE = frozenset({"single", "none", "once", "one_shot", "single_turn", "no_iteration", "disabled"})
_SEVERAL = frozenset(
    {"auto", "react", "sequential", "serial", "loop", "iterative", "default", "multi", "agent"}
)
_DEFAULT_ITERATIONS = 4


def read_settings(root: Source, draft: Draft, stem: str) -> None:
    """Everything that is about the whole assistant, from ``basic_settings`` and beside it."""
    basic = root.object(
        "basic_settings", "basic", "basic_config", "settings", "bot_settings", "agent_settings"
    )
    places = [basic, root] if basic is not None else [root]
    name = _first(places, *_NAMES) or stem
    draft.head["workflow_id"] = (
        identifier(_first(places, *_ID)) or identifier(name) or identifier(stem) or "imported"
    )
    draft.head["name"] = name.strip()[:200]
    description = _first(places, "description", "desc", "summary")
    if description:
        draft.head["description"] = description
    draft.head["languages"] = _languages(places, root, draft)
    _variables(root, draft)
    persona = {
        "background": _first(places, "background", "persona", "role", "role_description", "identity"),
        "tone": _first(places, "tone", "style", "personality"),
    }
    for source in places:
        persona["tone"] = _chatbot_response(source, draft, persona["tone"])
    if any(persona.values()):
        draft.head["persona"] = {key: text for key, text in persona.items() if text}
    for source in places:
        _greeting(source, draft)
        _fallback(source, draft)
        _iterations(source, draft)
        ttl = source.whole(
            "session_timeout",
            "session_ttl",
            "session_ttl_seconds",
            "session_timeout_seconds",
            low=60,
            high=31_536_000,
        )
        if ttl is not None:
            draft.policies["session_ttl_seconds"] = ttl
        turns = source.whole(
            "max_history", "history_turns", "max_history_turns", "context_turns", low=0, high=200
        )
        if turns is not None:
            draft.policies["context"] = {"max_turns": turns}
    _instructions(places, draft)
    if basic is not None:
        basic.close()


def _first(places: list[Source], *names: str) -> str:
    for source in places:
        if source.has(*names) and not isinstance(source.value.get(names[0]), Mapping):
            return source.text(*names)
    return ""


def _languages(places: list[Source], root: Source, draft: Draft) -> list[str]:
    found: list[str] = []
    for source in places:
        for names in (
            ("default_language", "primary_language"),
            ("language", "languages", "lang", "locale"),
            ("supported_languages", "other_languages"),
        ):
            path = source.at(*names)
            value = source.take(*names)
            words = value if isinstance(value, list) else re.split(r"[,;/、，|]", str(value or ""))
            for word in words:
                spoken = _language(str(word).strip())
                if spoken is not None and spoken not in found:
                    found.append(spoken)
                elif spoken is None and str(word).strip().lower() not in _AUTO | {""}:
                    draft.report.lost(
                        path, "a language", "it is not known here.", "Add its tag to `languages`."
                    )
    if found:
        return found
    chinese = _HAN.search(str(root.value)) is not None
    draft.report.changed(
        root.path,
        "the languages",
        f"the file names none; its texts look like {'Chinese' if chinese else 'English'}.",
    )
    return ["zh"] if chinese else ["en"]


def _language(word: str) -> str | None:
    known = _LANGUAGES.get(word.lower())
    if known is not None:
        return known
    spelled = tag(word)
    return spelled if _TAG.match(spelled) and len(spelled.split("-")[0]) == 2 else None


def _greeting(source: Source, draft: Draft) -> None:
    path = source.at("greeting", "welcome", "welcome_message", "greeting_message", "opening")
    nested = source.object("greeting", "welcome", "welcome_message", "greeting_message", "opening")
    if nested is not None and not is_localized(nested.value):
        enabled = nested.flag("enabled", "enable", default=True)
        value = nested.take("text", "message", "content", "messages", "value")
        nested.close()
        if not enabled:
            draft.report.lost(
                path, "the greeting", "it is switched off.", "Write it under `greeting` if it is wanted."
            )
            return
    else:
        value = (
            nested.value
            if nested is not None
            else source.take("greeting", "welcome", "welcome_message", "greeting_message", "opening")
        )
    text = draft.texts.localized(value, path, draft.scope)
    if text and "greeting" not in draft.head:
        draft.head["greeting"] = text
    elif value:
        draft.report.lost(
            path, "a greeting", "it is no text, or there is another one.", "Write it under `greeting`."
        )


def _chatbot_response(source: Source, draft: Draft, tone: str) -> str:
    """How the assistant is to answer: a text adds to its tone, an object may hold fixed replies too."""
    names = ("chatbot_response", "response", "response_settings", "response_style", "reply_settings")
    nested = source.object(*names)
    if nested is None:
        text = source.text(*names) if source.has(*names) else ""
        if text:
            draft.report.changed(
                source.at(*names), "how the assistant responds", "it is part of `persona.tone`."
            )
        return "\n".join(part for part in (tone, text) if part)
    _fallback(nested, draft)
    _greeting(nested, draft)
    words = [nested.text(name) for name in _STYLE if nested.has(name)]
    nested.close()
    return "\n".join(part for part in (tone, *words) if part)


def _fallback(source: Source, draft: Draft) -> None:
    for names, policy in ((_FALLBACK, "fallback"), (_FAILED, "degradation")):
        path = source.at(*names)
        text = draft.texts.localized(source.take(*names), path, draft.scope) if source.has(*names) else None
        if text:
            draft.policies.setdefault(policy, {})["reply"] = text


def _instructions(places: list[Source], draft: Draft) -> None:
    steps: list[str] = []
    rules: list[str] = []
    for source in places:
        steps += _procedure(source, "sop", "procedure", "sops", "workflow_sop", "guidelines", "instructions")
        rules += [
            text for _, text in source.texts("constraints", "constraint", "rules", "restrictions", "limits")
        ]
    if steps:
        draft.instructions["procedure"] = "\n".join(steps)
    if rules:
        draft.instructions["constraints"] = [re.sub(r"\A(?:[-*•]|\d+[.)、])\s*", "", rule) for rule in rules]


def _procedure(source: Source, *names: str) -> list[str]:
    value = source.value.get(names[0])
    if not isinstance(value, list) or not any(isinstance(item, Mapping) for item in value):
        text = source.text(*names) if source.has(*names) else ""
        return [text] if text else []
    lines = []
    for number, entry in enumerate(source.entries(*names, words="description"), 1):
        title = entry.source.text("name", "title", "step", "id")
        body = entry.source.text("description", "content", "instruction", "action", "text", "detail")
        entry.source.close()
        lines.append(f"{number}. {': '.join(part for part in (title, body) if part)}")
    return lines


def _iterations(source: Source, draft: Draft) -> None:
    count = source.whole("max_iterations", "max_iteration", "iteration_limit", low=1, high=20)
    if count is not None:
        draft.policies["max_iterations"] = count
    if count is not None and count > 1:
        draft.report.changed(
            source.at("max_iterations", "max_iteration", "iteration_limit"),
            "the rounds of a turn",
            "a turn has more than one only where `llm.decide` names a model and there is a procedure.",
            "Name one that the operator has set up, or leave it at one round.",
        )
    names = ("iteration_strategy", "iteration_mode", "strategy")
    path = source.at(*names)
    nested = source.object(*names)
    if nested is not None:
        _iterations(nested, draft)
        word = nested.text("type", "name", "mode").lower()
        nested.close()
    else:
        word = source.text(*names).strip().lower() if source.has(*names) else ""
    if word in _SINGLE:
        draft.policies["max_iterations"] = 1
    elif word in _SEVERAL:
        draft.policies.setdefault("max_iterations", _DEFAULT_ITERATIONS)
    elif word:
        draft.report.lost(
            path,
            "the strategy of iterations",
            "turns decide and act in rounds, one after the other.",
            "Set `policies.max_iterations`; say what else matters under `instructions`.",
        )


def _variables(root: Source, draft: Draft) -> None:
    names = ("variables", "vars", "global_variables", "globals", "constants")
    given = root.object(*names)
    for key, value in given.value.items() if given is not None else ():
        path: Path = (*root.at(*names), key)
        _variable(str(key), value, path, draft)
    draft.requests.base_url = _first([root], "base_url", "api_base", "api_base_url", "server_url", "host")


def _variable(key: str, value: Any, path: Path, draft: Draft) -> None:
    name = identifier(key)
    if isinstance(value, Mapping) and "value" in value:
        value = value["value"]
    if is_secret_name(key) and isinstance(value, str) and value:
        draft.report.secret(path, None)
    elif not name or not isinstance(value, str | int | float | bool):
        draft.report.lost(
            path,
            f"the variable `{key}`",
            "variables are texts, numbers or true and false.",
            "Write it where it is used.",
        )
    else:
        draft.requests.variables[name] = value
