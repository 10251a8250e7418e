"""Which of several texts is said: by language, then by variation."""

import hashlib
import re
from collections.abc import Mapping, Sequence

from signalbox.contracts.base import LocalizedText

_TEMPLATE_SYNTAX = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def language_chain(language: str) -> list[str]:
    """A tag and its parents, lower case: ``zh-Hant-HK`` gives ``zh-hant-hk``, ``zh-hant``, ``zh``."""
    parts = language.lower().split("-")
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]


def localized(text: LocalizedText, language: str, default_language: str, seed: str) -> tuple[str, str]:
    """The template to render, and the language that it is in.

    Without the language itself: its parents, another variety of it, the default language and its parents, then
    whatever there is first. A text that names no language counts as being in the default language. Of several
    variations the seed chooses, always the same for the same seed (a turn's id).
    """
    if isinstance(text, str):
        return text, default_language
    if isinstance(text, list):
        return _variation(text, seed), default_language
    tag = _choose(text, language, default_language)
    if tag is None:
        return "", default_language
    chosen = text[tag]
    return (chosen if isinstance(chosen, str) else _variation(chosen, seed)), tag


def has_words(template: str) -> bool:
    """Whether a template has words of its own, in some language."""
    return any(map(str.isalpha, _TEMPLATE_SYNTAX.sub("", template)))


def is_foreign(template: str, tag: str, language: str) -> bool:
    """Whether a template, which is in ``tag``, says something in another language than the one asked for."""
    return tag.lower().split("-")[0] != language.lower().split("-")[0] and has_words(template)


def _choose(text: Mapping[str, str | list[str]], language: str, default_language: str) -> str | None:
    tags = {tag.lower(): tag for tag, value in text.items() if value}
    for wanted in (language, default_language):
        for candidate in language_chain(wanted):
            if candidate in tags:
                return tags[candidate]
        primary = wanted.lower().split("-")[0]
        for candidate, tag in tags.items():
            if candidate.split("-")[0] == primary:
                return tag
    return next(iter(tags.values()), None)


def _variation(variations: Sequence[str], seed: str) -> str:
    if not variations:
        return ""
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
    return variations[int.from_bytes(digest[:8], "big") % len(variations)]
