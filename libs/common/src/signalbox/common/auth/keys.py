"""API keys: ``sbx_<key id>_<secret>``, 256 random bits, kept as SHA-256.

A fast hash is right for a secret that cannot be guessed; slow ones protect passwords that people choose.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from signalbox.common.errors import Unauthenticated
from signalbox.common.ids import now_ms
from signalbox.contracts.identity import KeyRecord, Principal, Scope

KEY_PREFIX = "sbx_"


class NewKey(NamedTuple):
    """A new key: what its owner keeps, and what is stored."""

    key_id: str
    key: str
    secret_sha256: str


def hash_secret(secret: str) -> str:
    """SHA-256 of a key's secret, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_key() -> NewKey:
    """Make a key from fresh randomness."""
    key_id = secrets.token_hex(8)
    secret = secrets.token_hex(32)
    return NewKey(key_id, f"{KEY_PREFIX}{key_id}_{secret}", hash_secret(secret))


class KeyRing:
    """The API keys that this process knows, those of each source replaced as a whole whenever they change."""

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self._sources: dict[str, list[KeyRecord]] = {}
        self._records: dict[str, KeyRecord] = {}
        self._verified: dict[str, tuple[KeyRecord, Principal]] = {}
        self.replace(records)

    def replace(self, records: Iterable[KeyRecord], *, source: str = "admin") -> None:
        """Of ``source``, know these keys and no others."""
        self._sources[source] = list(records)
        self._records = {record.key_id: record for known in self._sources.values() for record in known}
        self._verified = {}

    @property
    def records(self) -> list[KeyRecord]:
        """The keys of all sources."""
        return list(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def verify(self, key: str) -> Principal:
        """The principal of a presented key.

        Raises:
            Unauthenticated: the key is malformed, unknown, expired or revoked; which, is not said.
        """
        known = self._verified.get(key)
        if known is None:
            known = self._check(key)
        record, principal = known
        if not record.usable_at(now_ms()):
            raise _unknown()
        return principal

    def principal(self, key_id: str) -> Principal | None:
        """Who holds a key, with what it allows now; None when it is unknown, expired or revoked."""
        record = self._records.get(key_id)
        return _principal(record) if record is not None and record.usable_at(now_ms()) else None

    def _check(self, key: str) -> tuple[KeyRecord, Principal]:
        key_id, _, secret = key.removeprefix(KEY_PREFIX).partition("_")
        record = self._records.get(key_id)
        expected = record.secret_sha256 if record is not None else "0" * 64
        matches = hmac.compare_digest(hash_secret(secret), expected)
        if record is None or not matches:
            raise _unknown()
        # Only right keys get in here, so that there are never more than records.
        self._verified[key] = record, _principal(record)
        return self._verified[key]


def _unknown() -> Unauthenticated:
    return Unauthenticated("The API key is unknown, expired or revoked; ask an operator for a new one.")


def _principal(record: KeyRecord) -> Principal:
    principal = record.principal()
    if Scope.SERVICE in principal.scopes:
        # Whoever wrote the record: an API key never opens the calls between services.
        return principal.model_copy(update={"scopes": principal.scopes - {Scope.SERVICE}})
    return principal
