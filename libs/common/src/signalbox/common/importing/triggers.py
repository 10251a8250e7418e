"""What makes an intent of a part: its patterns, keywords, examples and parameters."""

import re
from typing import Any

from signalbox.common.importing.draft import Draft
from signalbox.common.importing.mapping import ParameterMap, read_mapping
from signalbox.common.importing.patterns import Untranslatable, translate
from signalbox.common.importing.report import Report
from signalbox.common.importing.source import Source
from signalbox.common.pointers import Path
from signalbox.common.record import record
from signalbox.common.rules import Pattern, keyword_rule
from signalbox.common.rules.errors import BadPattern

_PATTERNS = (
    "trigger_patterns",
    "trigger_pattern",
    "patterns",
    "regex",
    "regexes",
    "regex_patterns",
    "pattern",
)
_KEYWORDS = ("keywords", "trigger_keywords", "keyword", "trigger_words")
_EXAMPLES = (
    "examples",
    "utterances",
    "sample_utterances",
    "similar_questions",
    "training_phrases",
    "example_questions",
    "sample_questions",
    "user_says",
    "trigger_examples",
)
_TRIGGER = ("trigger", "triggers", "trigger_config", "when", "match")
_CATCH_ALL = -1000


@record
class Triggers:
    """When a part is meant, and what it is given."""

    when: dict[str, Any]
    parameters: ParameterMap
    priority: int | None

    @property
    def any(self) -> bool:
        """Whether there is a rule or an example."""
        return bool(self.when)

    def intent(self, intent_id: str, description: str, then: dict[str, Any]) -> dict[str, Any]:
        """The intent that leads there."""
        made: dict[str, Any] = {"id": intent_id}
        if description:
            made["description"] = description
        if self.when:
            made["when"] = self.when
        made["then"] = then
        if self.parameters.parameters:
            made["parameters"] = self.parameters.parameters
        if self.priority is not None:
            made["priority"] = self.priority
        return made


def read_triggers(source: Source, draft: Draft) -> Triggers:
    """Patterns, keywords, examples, priority and ``parameter_mapping`` of a part."""
    patterns, keywords, examples = _texts(source)
    nested = source.object(*_TRIGGER)
    if nested is not None:
        more = _texts(nested)
        patterns, keywords, examples = patterns + more[0], keywords + more[1], examples + more[2]
        nested.close()
    elif source.has(*_TRIGGER):
        patterns += source.texts(*_TRIGGER)
    parameters = read_mapping(source, [text for _, text in patterns], draft)
    when: dict[str, Any] = {}
    translated = [made for path, text in patterns if (made := _pattern(path, text, parameters, draft.report))]
    if translated:
        when["patterns"] = list(dict.fromkeys(translated))
    words = [text for path, text in keywords if _is_keyword(path, text, draft.report)]
    if words:
        when["keywords"] = list(dict.fromkeys(words))
    if examples:
        when["examples"] = list(dict.fromkeys(text for _, text in examples))
    priority = source.whole("priority", "weight", "order", low=-1000, high=1000)
    if priority is None and any(Pattern(pattern).search("") is not None for pattern in translated):
        priority = _CATCH_ALL
        draft.report.changed(
            source.path,
            "the priority of a part that every message triggers",
            f"it is {_CATCH_ALL}: all others go first.",
        )
    return Triggers(when, parameters, priority)


def _texts(source: Source) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]], list[tuple[Path, str]]]:
    found = [
        [read for name in names if source.has(name) for read in source.texts(name)]
        for names in (_PATTERNS, _KEYWORDS, _EXAMPLES)
    ]
    keywords = [
        (path, word.strip())
        for path, text in found[1]
        for word in re.split(r"[,，、;；]", text)
        if word.strip()
    ]
    return found[0], keywords, found[2]


def _pattern(path: Path, text: str, parameters: ParameterMap, report: Report) -> str | None:
    try:
        made = translate(text, parameters.names, parameters.numbers, parameters.places)
    except Untranslatable as error:
        reason = str(error)
        report.lost(
            path,
            "a pattern",
            reason if reason.endswith(".") else f"{reason}.",
            "Write it in RE2's syntax under `when.patterns`, or give examples instead.",
        )
        return None
    if made.rewritten:
        report.changed(path, "a pattern", "it is written in RE2's syntax now, and matches the same.")
    return made.pattern


def _is_keyword(path: Path, text: str, report: Report) -> bool:
    try:
        keyword_rule(0, text)
    except BadPattern as error:
        report.lost(path, "a keyword", error.detail, "Write another one.")
        return False
    return True
