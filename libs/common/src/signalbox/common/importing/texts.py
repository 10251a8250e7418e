"""Texts with placeholders, and conditions, in the language of our templates.

Read are ``{name}``, ``{{ name }}``, ``${name}``, ``$name.member`` and Jinja itself; names are resolved in a
``Scope``, so that a template never names a value that is not there.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from signalbox.common.importing.report import Report
from signalbox.common.importing.source import is_localized
from signalbox.common.pointers import Path
from signalbox.common.record import record
from signalbox.common.templates import TemplateError, Templates

_PLACEHOLDER = re.compile(
    r"\{\{#?(?P<double>.+?)#?\}\}|\$\{(?P<dollar>[^{}]+)\}"
    r"|(?<!\{)\{(?P<single>[^\W\d][\w.]*(?:\[[^\[\]{}]{1,40}\])*)(?P<format>![rsa]|:[^{}]{0,20})?\}(?!\})"
)
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>\$?\.?[^\W\d]\w*(?:\.[^\W\d]\w*|\.\d+|\[\d+\]|\[['\"][\w -]+['\"]\])*)"
    r"|(?P<operator>&&|\|\||===|!==|==|!=|>=|<=|<>|[-+*/%<>!()|,~\[\]])"
)
_WORDS = {
    "and": "and",
    "or": "or",
    "not": "not",
    "in": "in",
    "is": "is",
    "if": "if",
    "else": "else",
    "true": "true",
    "false": "false",
    "null": "none",
    "none": "none",
    "undefined": "none",
    "defined": "defined",
}
_OPERATORS = {"&&": " and ", "||": " or ", "===": "==", "!==": "!=", "<>": "!=", "!": " not "}
_MEMBER = re.compile(r"\.(?P<name>[^\W\d]\w*)|\.(?P<index>\d+)|(?P<subscript>\[[^\]]+\])")


@record
class Scope:
    """What the names of the earlier file are called in a template of ours."""

    roots: Mapping[str, str]
    """By the first part of a dotted name: the expression that stands in its place."""
    answer: str | None = None
    """The expression whose members other names are taken for: what the last call answered."""

    def resolve(self, name: str) -> str | None:
        """A dotted name, resolved; None where nothing is called so."""
        plain = name.lstrip("$").lstrip(".")
        head = re.match(r"[^\W\d]\w*", plain)
        if head is None:
            return None
        root = self.roots.get(head[0])
        if root is None:
            if self.answer is None:
                return None
            root = f"{self.answer}.{head[0]}"
        return root + _members(plain[head.end() :])

    def guesses(self, name: str) -> bool:
        """Whether a name is only taken for a member of the last answer."""
        head = re.match(r"[^\W\d]\w*", name.lstrip("$").lstrip("."))
        return head is not None and head[0] not in self.roots and self.answer is not None


class Texts:
    """Translates texts and conditions; what cannot be is reported at its place."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._templates = Templates()

    def localized(self, value: Any, path: Path, scope: Scope) -> Any:
        """A text, variations of one, or either by language; None where nothing is said."""
        if is_localized(value):
            texts = {tag(key): self.localized(item, (*path, key), scope) for key, item in value.items()}
            return {key: text for key, text in texts.items() if text} or None
        if isinstance(value, list):
            read = [
                self.template(item, (*path, index), scope)
                for index, item in enumerate(value)
                if isinstance(item, str) and item.strip()
            ]
            return read or None
        if isinstance(value, str):
            return self.template(value, path, scope) if value.strip() else None
        return None

    def value(self, value: Any, path: Path, scope: Scope) -> Any:
        """A JSON value whose texts are templates."""
        if isinstance(value, Mapping):
            return {str(key): self.value(item, (*path, key), scope) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*path, index), scope) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        if value.startswith("$") and (resolved := scope.resolve(value)) is not None:
            return f"{{{{ {resolved} }}}}"
        return self.template(value, path, scope)

    def template(self, text: str, path: Path, scope: Scope) -> str:
        """A text with its placeholders."""
        if "{" not in text:
            return text
        translated = _PLACEHOLDER.sub(lambda found: self._placeholder(found, path, scope), text)
        if self._is_template(translated):
            return translated
        # Braces that belong to no placeholder are shown as they are.
        ends = [0, *(end for found in _PLACEHOLDER.finditer(text) for end in found.span()), len(text)]
        pieces = [text[start:end] for start, end in itertools.pairwise(ends)]
        translated = "".join(
            _PLACEHOLDER.sub(lambda found: self._placeholder(found, path, scope), piece)
            if number % 2
            else _literal(piece)
            for number, piece in enumerate(pieces)
        )
        try:
            self._templates.check(translated)
        except TemplateError as error:
            self._report.lost(
                path,
                "the placeholders of a text",
                f"our templates refuse them: {error.reason}.",
                "They stand in the text as they were; write them anew.",
            )
            return _literal(text)
        return translated

    def _is_template(self, text: str) -> bool:
        try:
            self._templates.check(text)
        except TemplateError:
            return False
        return True

    def condition(self, source: str, path: Path, scope: Scope) -> str | None:
        """An expression; None, and a note, where it cannot be one of ours."""
        inner = source.strip()
        whole = _PLACEHOLDER.fullmatch(inner)
        if whole is not None and whole["single"] is None:
            inner = whole["double"] or whole["dollar"]
        inner = _PLACEHOLDER.sub(lambda found: found["double"] or found["dollar"] or found["single"], inner)
        reason = "it names a value that is not known here, or says what our conditions cannot"
        try:
            translated = self._expression(inner, scope)
            if translated is not None:
                self._templates.check_expression(translated)
                return translated
        except TemplateError as error:
            reason = error.reason
        self._report.lost(
            path,
            "a condition",
            f"it has no translation: {reason}.",
            "It counts as false here; write it anew in the language of our templates.",
        )
        return None

    def _placeholder(self, found: re.Match[str], path: Path, scope: Scope) -> str:
        inner = (found["double"] or found["dollar"] or found["single"]).strip()
        if scope.guesses(inner) and inner.lower() not in _WORDS:
            self._report.changed(
                path, "a placeholder", "it is read as a member of what the last call answered."
            )
        expression = self._expression(inner, scope)
        if expression is not None:
            if found["format"]:
                self._report.changed(path, "the format of a placeholder", "values are shown as they are.")
            return f"{{{{ {expression} }}}}"
        if found["single"] is not None:
            self._report.changed(
                path,
                "a word in braces",
                "it names no value that is known here, so it stays a text.",
                "If it is a value, write it as a template.",
            )
            return found[0]
        self._report.lost(
            path,
            "a placeholder",
            "it names a value that is not known here.",
            "Nothing is shown in its place; name a slot, a result or a variable.",
        )
        return ""

    def _expression(self, source: str, scope: Scope) -> str | None:
        out: list[str] = []
        at, after_pipe = 0, False
        while at < len(source):
            token = _TOKEN.match(source, at)
            if token is None:
                return None
            at = token.end()
            kind = token.lastgroup
            written = token[0]
            if kind == "name" and not after_pipe:
                named = self._name(written, source[at:], scope, "".join(out).rstrip())
                if named is None:
                    return None
                written = named
            elif kind == "operator":
                written = _OPERATORS.get(written, written)
            elif kind == "space":
                written = " "
            if kind != "space":
                after_pipe = written == "|"
            if out and "".join(out[-2:]).endswith(" "):
                written = written.lstrip(" ")
            out.append(written)
        return "".join(out).strip()

    def _name(self, name: str, rest: str, scope: Scope, before: str) -> str | None:
        word = _WORDS.get(name.lower())
        if word is not None and name not in scope.roots:
            return word
        if before.endswith((" is", " is not")):
            return name
        if rest.lstrip().startswith("("):
            return None
        return scope.resolve(name)


def tag(language: str) -> str:
    """A language tag in our spelling."""
    primary, *rest = language.replace("_", "-").split("-")
    return "-".join([primary.lower(), *rest])


def _literal(text: str) -> str:
    """A template that shows a text as it stands."""
    return re.sub(r"\{[{%#]", lambda found: "{{ '" + found[0] + "' }}", text)


def _members(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        found = _MEMBER.match(text, at)
        if found is None:
            return out
        out += (
            f".{found['name']}"
            if found["name"]
            else f"[{found['index']}]"
            if found["index"]
            else found["subscript"]
        )
        at = found.end()
    return out
