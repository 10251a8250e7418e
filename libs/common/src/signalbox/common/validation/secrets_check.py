"""Credentials written into the document instead of being referred to. No sentence repeats a value.

The whole document is searched, also the parts of it that did not parse.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import re2

from signalbox.common.pointers import Path
from signalbox.common.rules.pattern import options
from signalbox.common.validation.report import Finding

_CONTAINERS = frozenset({"arguments", "body", "context", "extra", "headers", "payload", "query", "variables"})
_URL_KEYS = frozenset({"token_url", "url"})
_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:password|passwd|pwd|secret|client_secret|api_?key|apikey|access_?key|private_?key|token|"
    r"credentials?|authorization|cookie)\Z"
)
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_SCHEME = re.compile(r"(?i)\A\s*(?:bearer|basic|token|apikey|digest)\b")
# Shapes of well-known credentials: OpenAI and Anthropic, GitHub, AWS, Google, Slack, Stripe, JWT (RFC 7519), PEM.
_SHAPES = re2.compile(
    r"\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_-]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\b[rs]k_live_[A-Za-z0-9]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    options(case_sensitive=True),
)
_ADVICE = "keep it as a secret and refer to it as `secret:NAME` under `auth`."


def check_secrets(document: dict[str, Any]) -> Iterator[Finding]:
    """``secret_as_value`` for literal credentials, ``bad_value`` for references where none is resolved."""
    pending: list[tuple[Path, Any, str | None]] = [((), document, None)]
    while pending:
        path, value, container = pending.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                inside = key if container is None and key in _CONTAINERS else container
                pending.append(((*path, key), item, inside))
        elif isinstance(value, list):
            pending.extend(((*path, index), item, container) for index, item in enumerate(value))
        elif isinstance(value, str) and value:
            yield from _check_text(path, value, container)


def _check_text(path: Path, text: str, container: str | None) -> Iterator[Finding]:
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if _SHAPES.search(text.encode("utf-8", "replace")) is not None:
        yield Finding(path, "secret_as_value", f"`{name}` holds what looks like a credential: {_ADVICE}")
    elif container is not None and len(path) > 1 and name != container and is_secret_name(name):
        if text.startswith("secret:"):
            if container != "variables":
                detail = f"`{name}`: a secret is put in by `auth`, not by templates; a reference here is sent as it is."
                yield Finding(path, "bad_value", detail)
        elif _has_literal(text):
            yield Finding(path, "secret_as_value", f"`{name}` holds a credential: {_ADVICE}")
    if "://" in text:
        yield from _check_url(path, name, text)


def _check_url(path: Path, name: str, text: str) -> Iterator[Finding]:
    try:
        parts = urlsplit(_TEMPLATE.sub("x", text))
        password = parts.password
    except ValueError:
        return
    if password:
        yield Finding(path, "secret_as_value", f"`{name}` holds a user and password in its URL: {_ADVICE}")
    elif name in _URL_KEYS:
        literal = parse_qsl(urlsplit(_TEMPLATE.sub("", text)).query, max_num_fields=1000)
        if any(is_secret_name(key) and value for key, value in literal):
            yield Finding(path, "secret_as_value", f"`{name}` holds a credential in its query: {_ADVICE}")


def is_secret_name(name: str) -> bool:
    """Whether a field of this name usually holds a credential."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SECRET_NAME.match(re.sub(r"[^a-z0-9]+", "_", snake.lower())) is not None


def credential_shapes(replacement: str, text: str) -> str:
    """The text, with whatever has the shape of a well-known credential replaced."""
    replaced: bytes = _SHAPES.sub(replacement.encode(), text.encode("utf-8", "replace"))
    return replaced.decode()


def _has_literal(text: str) -> bool:
    """Whether there is more than placeholders and a scheme, or the placeholders are constants of the document."""
    if any(re.search(r"\bvars\b", inner) for inner in _TEMPLATE.findall(text)):
        return True
    return bool(_SCHEME.sub("", _TEMPLATE.sub("", text)).strip())
