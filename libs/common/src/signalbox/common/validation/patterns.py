"""Patterns and keywords: each is RE2, and all of them together fit the memory that the server has for them."""

from collections.abc import Iterator

from signalbox.common.pointers import Path
from signalbox.common.rules import BadPattern, Pattern, Re2Engine, Rule, RulesTooLarge, keyword_rule
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Submission
from signalbox.contracts.config import Intent, Parameter, Slot


def check_patterns(submission: Submission, memory: int) -> Iterator[Finding]:
    """``bad_pattern`` for each pattern that RE2 refuses, ``rules_too_large`` where the set does not fit ``memory``."""
    rules: list[Rule] = []
    paths: list[Path] = []
    for path, text, is_keyword in _rules(submission):
        try:
            rule = keyword_rule(len(rules), text) if is_keyword else Rule(len(rules), Pattern(text).source)
        except BadPattern as error:
            yield Finding(path, "bad_pattern", error.detail)
            continue
        rules.append(rule)
        paths.append(path)
    for path, pattern in _other_patterns(submission):
        try:
            Pattern(pattern)
        except BadPattern as error:
            yield Finding(path, "bad_pattern", error.detail)
    try:
        Re2Engine(memory).compile(rules)
    except RulesTooLarge as error:
        for rule_id in error.rules:
            yield Finding(paths[rule_id], "rules_too_large", error.detail)


def warn_about_patterns(submission: Submission) -> Iterator[Finding]:
    """``matches_everything``, and ``undeclared_parameter`` for named groups that fill nothing."""
    for node, intent in submission.of(Intent):
        for path, text in _patterns(submission, node.path, intent):
            try:
                pattern = Pattern(text)
            except BadPattern:
                continue
            if pattern.search("") is not None:
                detail = (
                    "The pattern is found in every message, even an empty one: make it ask for something."
                )
                yield Finding(path, "matches_everything", detail)
            for name in sorted(pattern.group_names - set(intent.parameters)):
                detail = f"The group `{name}` fills no parameter: declare `{name}` under `parameters`."
                yield Finding(path, "undeclared_parameter", detail)


def _rules(submission: Submission) -> Iterator[tuple[Path, str, bool]]:
    for node, intent in submission.of(Intent):
        for path, text in _patterns(submission, node.path, intent):
            yield path, text, False
        keywords = (*node.path, "when", "keywords")
        for index, keyword in enumerate(intent.when.keywords):
            yield submission.item_path(keywords, index), keyword, True


def _patterns(submission: Submission, path: Path, intent: Intent) -> Iterator[tuple[Path, str]]:
    for index, text in enumerate(intent.when.patterns):
        yield submission.item_path((*path, "when", "patterns"), index), text


def _other_patterns(submission: Submission) -> Iterator[tuple[Path, str]]:
    for node in submission.nodes:
        if isinstance(node.model, Parameter | Slot) and node.model.pattern is not None:
            yield (*node.path, "pattern"), node.model.pattern
