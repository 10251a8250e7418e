"""System actions and timers."""

from typing import Any

from signalbox.common.importing.draft import Draft, Part
from signalbox.common.importing.names import identifier
from signalbox.common.importing.source import Source
from signalbox.common.importing.step_words import ACTION_TYPES
from signalbox.common.importing.triggers import read_triggers
from signalbox.common.validation.secrets_check import is_secret_name

_TYPE = ("type", "action_type", "kind", "action")
_REPLY = ("reply", "message", "response", "text", "content", "action_prompt", "prompt")
_PROFILE = ("profile", "fields", "updates", "values", "mapping", "profile_fields", "data")
_DELAYS = (
    ("delay_seconds", 1.0),
    ("delay", 1.0),
    ("timeout_seconds", 1.0),
    ("timeout", 1.0),
    ("seconds", 1.0),
    ("interval_seconds", 1.0),
    ("interval", 1.0),
    ("delay_minutes", 60.0),
    ("minutes", 60.0),
    ("delay_ms", 0.001),
)
_MAX_DELAY = 2_592_000


def read_action(part: Part, draft: Draft) -> None:
    """One system action, and an intent where the file says when it is meant."""
    source = part.source
    word = source.text(*_TYPE).strip().lower()
    kind = ACTION_TYPES.get(word) or ACTION_TYPES.get(part.id.lower()) or ACTION_TYPES.get(part.label.lower())
    if kind is None and source.has("url", "webhook_url", "webhook"):
        kind = "webhook"
    if kind is None:
        source.take("description")
        draft.report.lost(
            part.entry.path,
            f"the action `{part.label or part.id}`",
            "there are handoff, close, update_profile and webhook.",
            "Make it a tool that a flow or a skill calls.",
        )
        return
    triggers = read_triggers(source, draft)
    description = source.text("description", "desc", "condition", "when_to_use")
    made: dict[str, Any] = {"id": part.id, "type": kind}
    if description:
        made["description"] = description
    if source.has("silent", "is_silent", "quiet"):
        made["silent"] = source.flag("silent", "is_silent", "quiet", default=False)
    reply = draft.texts.localized(source.take(*_REPLY), source.at(*_REPLY), draft.scope)
    if reply:
        made["reply"] = reply
    if kind == "update_profile":
        made["profile"] = _profile(source, draft, list(triggers.parameters.mapped))
    if kind == "webhook" or source.has("url", "webhook_url"):
        made["webhook"] = _webhook(source, part.id, draft)
    source.close()
    draft.add("actions", made, part.entry.path)
    talks = kind in ("handoff", "close")
    if triggers.any or (talks and description):
        intent = triggers.intent(
            draft.names["intent"].give(part.id), description or part.label, {"action": part.id}
        )
        draft.add("intents", intent, part.entry.path)
    elif not talks:
        draft.report.lost(
            part.entry.path,
            f"when the action `{part.id}` is taken",
            "a model decided it, without a rule to go by; here that needs a model for `decide`.",
            "Name a model under `llm.decide`, or name the action in the `end` step of a flow or in an intent.",
        )


def read_timer(part: Part, draft: Draft) -> None:
    """One timer."""
    source = part.source
    delay = _delay(source)
    times = source.whole("max_triggers", "max_trigger", "max_times", "repeat", "max_count", low=-1, high=100)
    if times is not None and times <= 0:
        draft.report.changed(
            part.entry.path, "how often a timer fires", "there is no timer without a limit; it is 100."
        )
        times = 100
    made: dict[str, Any] = {"id": part.id, "delay_seconds": delay if delay is not None else 300}
    if delay is None:
        draft.report.lost(
            part.entry.path, "the delay of a timer", "it cannot be read; 300 s stand for it.", "Set it."
        )
    if times is not None:
        made["max_triggers"] = times
    before = len(draft.report.notes)
    _what_happens(part, made, draft)
    said = len(draft.report.notes) > before
    source.take("description")
    source.close()
    if "action" not in made and "reply" not in made:
        if said:
            return
        draft.report.lost(
            part.entry.path,
            f"the timer `{part.id}`",
            "a timer says something or takes a system action.",
            "Write it under `timers` by hand.",
        )
        return
    draft.add("timers", made, part.entry.path)


def _what_happens(part: Part, made: dict[str, Any], draft: Draft) -> None:
    source = part.source
    names = ("action", "system_action", "action_name", "on_timeout", "action_target")
    nested = source.object(*names)
    given = nested if nested is not None else source
    word = (
        nested.text("type", "action_type", "name", "id") if nested is not None else source.text(*names)
    ).strip()
    if nested is None:
        word = word or source.text("action_type", "type")
        source.take("action_type")
        source.take("type")
    known = draft.names["action"].find(word) if word else None
    if known is None and nested is not None:
        target = (
            nested.text("target", "action_id", "action_target")
            if nested.has("target", "action_id", "action_target")
            else ""
        )
        known = draft.names["action"].find(target) if target else None
    kind = ACTION_TYPES.get(word.lower())
    if known is not None and any(action["id"] == known for action in draft.actions):
        made["action"] = known
    elif kind in ("handoff", "close"):
        made["action"] = draft.action(kind, part.entry.path)
    spoken = ("message", "reply", "text", "content", "prompt", "response", "action_prompt")
    for holder in (given, source):
        reply = draft.texts.localized(holder.take(*spoken), holder.at(*spoken), draft.scope)
        if reply and "reply" not in made:
            made["reply"] = reply
    if nested is not None:
        nested.close()
    messages = (
        "message",
        "reply",
        "say",
        "send_message",
        "prompt",
        "text",
        "remind",
        "reminder",
        "notify",
        "",
    )
    if "action" not in made and word.lower() not in messages:
        if " " in word or not word.isascii():
            made.setdefault("reply", word)
        else:
            draft.report.lost(
                source.at(*names),
                "what a timer does",
                "a timer says something or takes a system action.",
                "Let the user's next message lead to it.",
            )


def _delay(source: Source) -> int | None:
    for name, scale in _DELAYS:
        if source.has(name):
            return source.whole(name, low=1, high=_MAX_DELAY, scale=scale)
    return None


def _profile(source: Source, draft: Draft, parameters: list[str]) -> dict[str, Any]:
    path = source.at(*_PROFILE)
    value = source.take(*_PROFILE)
    made: dict[str, Any] = {}
    scope = draft.scope
    roots = {**scope.roots, **{name: f"parameters.{name}" for name in parameters}}
    known = type(scope)(roots)
    if isinstance(value, dict):
        for key, item in value.items():
            name = identifier(str(key))
            if name:
                made[name] = draft.texts.value(item, (*path, key), known)
    elif isinstance(value, list):
        for item in value:
            name = identifier(str(item.get("name", "") if isinstance(item, dict) else item))
            if name:
                made[name] = f"{{{{ parameters.{name} | default(none) }}}}"
    for name in [] if made else parameters:
        made[name] = f"{{{{ parameters.{name} | default(none) }}}}"
    return made


def _webhook(source: Source, action_id: str, draft: Draft) -> dict[str, Any]:
    given = source.object("webhook", "webhook_config", "request", "http") or source
    url_names = ("url", "webhook_url", "endpoint")
    path = given.at(*url_names)
    secret = f"secret:{action_id}-webhook".lower().replace("_", "-")
    made: dict[str, Any] = {
        "url": draft.texts.template(given.text(*url_names) or source.text(*url_names), path, draft.scope),
        "secret": secret,
    }
    held = ("secret", "signing_secret", "webhook_secret", "token")
    if given.has(*held):
        draft.report.secret(given.at(*held), secret)
        given.take(*held)
    else:
        draft.report.secret(path, secret)
    headers = {}
    for key, value in (
        (given.take("headers") or {}).items() if isinstance(given.value.get("headers"), dict) else ()
    ):
        if is_secret_name(key):
            draft.report.secret((*given.path, "headers", key), None)
        else:
            headers[str(key)] = draft.texts.template(str(value), (*given.path, "headers", key), draft.scope)
    if headers:
        made["headers"] = headers
    payload_names = ("payload", "body", "data")
    payload = given.take(*payload_names)
    if isinstance(payload, dict) and payload:
        made["payload"] = draft.texts.value(payload, given.at(*payload_names), draft.scope)
    if given.text("method").upper() not in ("", "POST"):
        draft.report.lost(
            given.at("method"), "the method of a webhook", "webhooks are posted.", "Make it a tool."
        )
    if given is not source:
        given.close()
    draft.report.changed(
        source.path,
        "a webhook",
        "it is signed per Standard Webhooks, and retried.",
        "Check the signature where it is received.",
    )
    return made
