"""Workflow documents as text: read from JSON or YAML, hashed over RFC 8785, upgraded in memory.

A document is what JSON can say: objects with text keys, lists, text, numbers, true, false and null. YAML is
read by the rules of YAML 1.2's core schema (so ``no`` is a text and not false), without tags and merge keys. A key
given twice is an error in both.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import rfc8785

from signalbox.common.document_errors import DocumentTooLarge, DocumentUnreadable
from signalbox.common.errors import ValidationFailed
from signalbox.common.yaml_reader import read_yaml
from signalbox.contracts.workflow_config import SCHEMA_VERSION

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 250_000

Document = dict[str, Any]
Upgrade = Callable[[Document], Document]

UPGRADES: Mapping[str, Upgrade] = MappingProxyType({})
"""By ``schema_version``: the function that turns such a document into one of the next version."""


class UnsupportedSchemaVersion(ValidationFailed):
    """The document's ``schema_version`` is not known to this release."""

    code = "unsupported_schema_version"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, pointer="/schema_version")


def parse(source: str | bytes, syntax: Literal["json", "yaml", "auto"] = "auto") -> Document:
    """Read one document.

    ``auto`` takes a text that begins with ``{`` for JSON and any other for YAML.

    Raises:
        DocumentTooLarge: more than 4 MB, 64 levels or 250,000 values.
        DocumentUnreadable: not UTF-8, a syntax error, a key given twice, or not an object at the top.
    """
    text = _decode(source)
    if syntax == "auto":
        syntax = "json" if text.lstrip(" \t\r\n")[:1] == "{" else "yaml"
    try:
        value = (
            _parse_json(text)
            if syntax == "json"
            else read_yaml(text, max_depth=MAX_DEPTH, max_nodes=MAX_NODES)
        )
    except RecursionError:
        raise DocumentTooLarge(f"The document is nested deeper than {MAX_DEPTH} levels.") from None
    if not isinstance(value, dict):
        raise DocumentUnreadable("the document must be an object (a mapping) at its top.")
    check_shape(value)
    return value


def check_shape(document: Document) -> None:
    """Refuse what cannot be hashed or stored: too deep, too many values, not representable in JSON.

    Raises:
        DocumentTooLarge: more than 64 levels or 250,000 values.
        DocumentUnreadable: a number outside JSON's range, a text with half a surrogate pair or a NUL.
    """
    pending: list[tuple[Any, int]] = [(document, 1)]
    count = 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise DocumentTooLarge(f"The document is nested deeper than {MAX_DEPTH} levels.")
        if count > MAX_NODES:
            raise DocumentTooLarge(f"The document holds more than {MAX_NODES} values.")
        if isinstance(value, dict):
            for key, item in value.items():
                _check_scalar(key)
                pending.append((item, depth + 1))
        elif isinstance(value, list):
            pending.extend((item, depth + 1) for item in value)
        else:
            _check_scalar(value)


def config_hash(document: Document) -> tuple[str, bytes]:
    """SHA-256 (lower-case hex) over the RFC 8785 form of a document as submitted, and that form itself.

    Raises:
        DocumentUnreadable: the document holds what RFC 8785 cannot express.
    """
    try:
        canonical = rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise DocumentUnreadable(f"the document has no canonical form (RFC 8785): {error}.") from error
    return hashlib.sha256(canonical).hexdigest(), canonical


def upgrade(document: Document, upgrades: Mapping[str, Upgrade] = UPGRADES) -> Document:
    """The document in the current schema version; the one given is left as it is, and so is its hash.

    Raises:
        UnsupportedSchemaVersion: neither the current version nor one that ``upgrades`` leads from.
    """
    version = document.get("schema_version", SCHEMA_VERSION)
    seen: set[str] = set()
    while version != SCHEMA_VERSION:
        if not isinstance(version, str):
            raise UnsupportedSchemaVersion(f'schema_version is a text: write "{SCHEMA_VERSION}".')
        if version not in upgrades or version in seen:
            known = ", ".join(sorted({SCHEMA_VERSION, *upgrades}))
            raise UnsupportedSchemaVersion(
                f"schema_version must be a text that this release reads ({known}): change it, or update Signalbox."
            )
        seen.add(version)
        document = upgrades[version](document)
        version = document.get("schema_version", SCHEMA_VERSION)
    return document


def _decode(source: str | bytes) -> str:
    size = len(source) if isinstance(source, bytes) else len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise DocumentTooLarge(f"The document has {size} bytes; at most {MAX_BYTES} are read.")
    if isinstance(source, bytes):
        try:
            source = source.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DocumentUnreadable(f"byte {error.start} is not UTF-8; save the file as UTF-8.") from None
    return source.removeprefix("\ufeff")


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise DocumentUnreadable("a text holds the character NUL (U+0000); remove it.")
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise DocumentUnreadable("a text holds half of a surrogate pair; write it whole.") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise DocumentUnreadable("a number is not finite; JSON has no such value.")
    elif isinstance(value, int):
        if abs(value) >= 2**53:
            raise DocumentUnreadable("a whole number is beyond 2^53 - 1; write it as a text.")
    elif value is not None:
        raise DocumentUnreadable(f"a value of type {type(value).__name__} is not JSON.")


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _object(pairs: list[tuple[str, Any]]) -> Document:
    built = dict(pairs)
    if len(built) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key)
            seen.add(key)
    return built


def _constant(name: str) -> NoReturn:
    raise DocumentUnreadable(f"{name} is not JSON; leave it out or write null.")


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise DocumentUnreadable(f"{reason}.", line=error.lineno, column=error.colno) from None
    except _DuplicateKey as error:
        line, column = _second_occurrence(text, error.key)
        raise DocumentUnreadable(
            f"the key {error.key!r} is given twice in one object.", line=line, column=column
        ) from None
    except ValueError:
        raise DocumentUnreadable("a whole number has too many digits; write it as a text.") from None


def _second_occurrence(text: str, key: str) -> tuple[int, int]:
    """Line and column of the first key, named ``key``, that its own object already has.

    The text is valid JSON up to there, so a list of open objects and their keys is all that is needed.
    """
    open_keys: list[set[str] | None] = []
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|[{}\[\]]', text):
        match token.group()[0]:
            case "{":
                open_keys.append(set())
            case "[":
                open_keys.append(None)
            case "}" | "]":
                open_keys.pop()
            case _:
                if token.group("key") and (keys := open_keys[-1]) is not None:
                    name = json.loads(token.group().removesuffix(token.group("key")))
                    if name in keys and name == key:
                        before = text[: token.start()]
                        return before.count("\n") + 1, token.start() - (before.rfind("\n") + 1) + 1
                    keys.add(name)
    return 1, 1
