"""API keys in SQL."""

import orjson

from signalbox.admin.changing import change
from signalbox.admin.paging import page_after, page_params
from signalbox.admin.records import AuditEntry, Cursor, Key
from signalbox.common.storage import Database, Row, Statement, Write, assigned, insert_into, listed
from signalbox.contracts.identity import KeyRecord

_COLUMNS = (
    "tenant",
    "key_id",
    "name",
    "secret_sha256",
    "scopes",
    "workflows",
    "models",
    "default_max_output",
    "priority",
    "created_at",
    "created_by",
    "expires_at",
    "revoked_at",
)
_THIS_KEY = "tenant = :in_tenant AND key_id = :in_key"
_SELECT = f"SELECT {listed(_COLUMNS)} FROM admin_keys"

_ADD = Statement(insert_into("admin_keys", _COLUMNS))
_KEY = Statement(f"{_SELECT} WHERE {_THIS_KEY}")
_PAGE = Statement(
    f"{_SELECT} WHERE tenant = :in_tenant AND {page_after('created_at', 'key_id')}"
    " ORDER BY created_at DESC, key_id DESC LIMIT :at_most"
)
_REVOKE = Statement(
    f"UPDATE admin_keys SET revoked_at = :new_revoked_at WHERE {_THIS_KEY} AND revoked_at IS NULL"
)
_CHANGE = Statement(
    f"UPDATE admin_keys SET {assigned(('models', 'default_max_output', 'priority'))} WHERE {_THIS_KEY}"
)
LIVE_KEYS = Statement(f"{_SELECT} WHERE revoked_at IS NULL ORDER BY key_id")
"""The keys of all tenants that are not revoked."""


class SqlKeyStore:
    """``KeyStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: Key, audit: AuditEntry) -> None:
        """See ``KeyStore.add``."""
        record = key.record
        row = {
            "tenant": record.tenant,
            "key_id": record.key_id,
            "name": record.name,
            "secret_sha256": record.secret_sha256,
            "scopes": orjson.dumps(sorted(record.scopes)).decode(),
            "workflows": _names(record.workflows),
            **_of_models(record),
            "created_at": record.created_at,
            "created_by": key.created_by,
            "expires_at": record.expires_at,
            "revoked_at": record.revoked_at,
        }
        await self._database.write(*change(audit, Write(_ADD, row)))

    async def key(self, tenant: str, key_id: str) -> Key | None:
        """See ``KeyStore.key``."""
        row = await self._database.fetch_one(_KEY, {"in_tenant": tenant, "in_key": key_id})
        return None if row is None else _key(row)

    async def keys(self, tenant: str, after: Cursor, limit: int) -> list[Key]:
        """See ``KeyStore.keys``."""
        params = {"in_tenant": tenant, **page_params(after, limit)}
        return [_key(row) for row in await self._database.fetch_all(_PAGE, params)]

    async def change(self, record: KeyRecord, audit: AuditEntry) -> None:
        """See ``KeyStore.change``."""
        new = {f"new_{name}": value for name, value in _of_models(record).items()}
        params = {"in_tenant": record.tenant, "in_key": record.key_id, **new}
        await self._database.write(*change(audit, Write(_CHANGE, params)))

    async def revoke(self, tenant: str, key_id: str, audit: AuditEntry) -> None:
        """See ``KeyStore.revoke``."""
        params = {"in_tenant": tenant, "in_key": key_id, "new_revoked_at": audit.at}
        await self._database.write(*change(audit, Write(_REVOKE, params)))


def key_record(row: Row) -> KeyRecord:
    """A key as services verify it."""
    fields = {name: value for name, value in row.items() if name != "created_by"}
    fields["scopes"] = orjson.loads(row["scopes"])
    for name in ("workflows", "models"):
        fields[name] = None if row[name] is None else orjson.loads(row[name])
    return KeyRecord.model_validate(fields)


def _of_models(record: KeyRecord) -> dict[str, str | int | None]:
    return {
        "models": _names(record.models),
        "default_max_output": record.default_max_output,
        "priority": record.priority,
    }


def _names(names: frozenset[str] | None) -> str | None:
    return None if names is None else orjson.dumps(sorted(names)).decode()


def _key(row: Row) -> Key:
    return Key(key_record(row), row["created_by"])
