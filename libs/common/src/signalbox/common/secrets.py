"""Secrets: looked up by tenant and name at the moment of use, in a type that never prints its value.

A name belongs to one tenant. The stores of this module also know names without a tenant, for the many
installations that have one tenant only; those belong to the tenant ``default`` and to no other.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hmac import compare_digest
from pathlib import Path
from typing import NoReturn, Protocol

from signalbox.common.errors import SignalboxError

MASK = "***"
DEFAULT_TENANT = "default"
MAX_CACHE_SECONDS = 60.0
_MAX_CACHED = 10_000
_MIN_REDACTED = 4
_ENVIRONMENT_TENANT = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


class SecretNotFound(SignalboxError):
    """No store has the secret; ``detail`` says where each of them looked."""

    code = "secret_not_found"
    status = 500
    title = "Secret not found"


class Secret:
    """A secret's value: shown as ``***`` by ``str``, ``repr``, ``format`` and logging, and not serialisable."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised; pass its name on instead")


class SecretStore(Protocol):
    """Where secrets are kept."""

    async def get(self, tenant: str, name: str) -> Secret:
        """The tenant's secret of that name (without ``secret:``). Raises SecretNotFound."""
        ...


def secret_name(reference: str) -> str:
    """The name in a reference ``secret:NAME``."""
    return reference.removeprefix("secret:")


class EnvironmentSecrets:
    """Secrets in environment variables.

    ``SIGNALBOX_SECRET_<TENANT>__<NAME>``, and for the tenant ``default`` also ``SIGNALBOX_SECRET_<NAME>``;
    upper case, each run of other characters than letters and digits is one ``_``. So a name never holds
    ``__`` and cannot reach into another tenant. A tenant whose own name would not survive this unchanged (say
    ``Acme_EU``, which reads like ``acme-eu``) has no variables: use a directory for it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def get(self, tenant: str, name: str) -> Secret:
        """See SecretStore."""
        candidates = self._variables(tenant, name)
        for variable in candidates:
            if variable in self._environment:
                return Secret(self._environment[variable])
        if not candidates:
            raise SecretNotFound(f"tenant {tenant!r} cannot be written in an environment variable's name")
        raise SecretNotFound(f"environment variable {' or '.join(candidates)}")

    def _variables(self, tenant: str, name: str) -> list[str]:
        if not _NAME.match(name):
            return []
        variables = []
        if _ENVIRONMENT_TENANT.match(tenant):
            variables.append(f"SIGNALBOX_SECRET_{_upper(tenant)}__{_upper(name)}")
        if tenant == DEFAULT_TENANT:
            variables.append(f"SIGNALBOX_SECRET_{_upper(name)}")
        return variables


class DirectorySecrets:
    """Secrets in files, one each, as Kubernetes mounts them: ``<tenant>/<name>``, or ``<name>`` for ``default``.

    One newline at the end of a file is not part of the value. Links are followed inside the directory only.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def get(self, tenant: str, name: str) -> Secret:
        """See SecretStore."""
        return await asyncio.to_thread(self._read, tenant, name)

    def _read(self, tenant: str, name: str) -> Secret:
        candidates = self._paths(tenant, name)
        root = self._directory.resolve()
        for path in candidates:
            resolved = path.resolve()
            if resolved.is_relative_to(root) and resolved.is_file():
                return Secret(self._text(resolved).removesuffix("\n").removesuffix("\r"))
        raise SecretNotFound(f"file {' or '.join(str(path) for path in candidates) or 'of such a name'}")

    def _text(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SecretNotFound(f"file {path}, which cannot be read ({type(error).__name__})") from None

    def _paths(self, tenant: str, name: str) -> list[Path]:
        parts = name.split("/")
        if not _NAME.match(name) or any(part in {"", ".", ".."} for part in (*parts, tenant)):
            return []
        if "/" in tenant or "\\" in tenant:
            return []
        paths = [self._directory / tenant / name]
        if tenant == DEFAULT_TENANT and len(parts) == 1:
            paths.append(self._directory / name)
        return paths


class ChainedSecrets:
    """Asks several stores in order and remembers what was found, for 60 s at most; never what was not."""

    def __init__(
        self,
        stores: Sequence[SecretStore],
        *,
        ttl_seconds: float = MAX_CACHE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = tuple(stores)
        self._ttl = min(ttl_seconds, MAX_CACHE_SECONDS)
        self._clock = clock
        self._found: OrderedDict[tuple[str, str], tuple[float, Secret]] = OrderedDict()

    async def get(self, tenant: str, name: str) -> Secret:
        """See SecretStore."""
        key = (tenant, name)
        cached = self._found.get(key)
        if cached is not None and self._clock() < cached[0]:
            return cached[1]
        places = []
        for store in self._stores:
            try:
                secret = await store.get(tenant, name)
            except SecretNotFound as error:
                places.append(error.detail)
                continue
            self._found[key] = (self._clock() + self._ttl, secret)
            self._found.move_to_end(key)
            if len(self._found) > _MAX_CACHED:
                self._found.popitem(last=False)
            return secret
        self._found.pop(key, None)
        looked = "; ".join(places) or "no secret store is configured"
        raise SecretNotFound(f"Secret {name!r} of tenant {tenant!r} is not set. Looked for: {looked}.")


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """The text with each secret's value replaced by ``***``, as it is and as URLs and JSON write it, in any mixture.

    Values shorter than 4 characters are left: masking them would tear up ordinary words.
    """
    values = {secret.reveal() for secret in secrets}
    for value in sorted(values, key=len, reverse=True):
        if len(value) < _MIN_REDACTED:
            continue
        if "%" in text or "\\" in text or " " in value:
            text = re.sub("".join(map(_written, value)), MASK, text)
        else:
            text = text.replace(value, MASK)
    return text


def _written(character: str) -> str:
    """A pattern for the ways of writing a character: software differs in what it escapes (a slash, above all)."""
    ways = [re.escape(character), "".join(f"%{byte:02x}" for byte in character.encode(errors="replace"))]
    units = character.encode("utf-16-be", "surrogatepass").hex()
    ways.append("".join(rf"\\+u{units[at : at + 4]}" for at in range(0, len(units), 4)))
    if character in '"\\/':
        ways.insert(0, rf"\\*{re.escape(character)}")
    if character == " ":
        ways.append(r"\+")
    return f"(?:{ways[0]}|(?i:{'|'.join(ways[1:])}))"


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper())
