"""The change feed's state in SQL: revision, pointers, preparations; and the replicas that follow it."""

from typing import Any

import orjson

from signalbox.admin.changing import change
from signalbox.admin.key_repository import LIVE_KEYS, key_record
from signalbox.admin.records import Preparation, Replica, State
from signalbox.common.auth import SYSTEM_TENANT
from signalbox.common.ids import now_ms
from signalbox.common.storage import Database, Row, Statement, Write, insert_into, listed
from signalbox.contracts.admin import ReleasePointer, SnapshotRef

_PREPARATION = ("tenant", "preparation_id", "config_hash", "expires_at")
_REPLICA = ("tenant", "instance", "service", "revision", "loaded", "lease_until")

_REVISION = Statement("SELECT revision FROM admin_state WHERE tenant = :in_tenant")
POINTERS_WITH_DEFAULT = (
    "SELECT p.tenant, p.environment, p.workflow_id, p.number, p.config_hash, t.default_workflow"
    " FROM admin_release_pointers p"
    " LEFT JOIN admin_tenants t ON t.tenant = p.tenant AND t.default_workflow = p.workflow_id"
)
"""Pointers, each with the tenant's default workflow when it points to that; for ``pointer_of``."""

_ALL_POINTERS = Statement(f"{POINTERS_WITH_DEFAULT} ORDER BY p.tenant, p.environment, p.workflow_id")
_ALL_PREPARATIONS = Statement(
    f"SELECT {listed(_PREPARATION)} FROM admin_preparations ORDER BY preparation_id"
)
_ADD_PREPARATION = Statement(insert_into("admin_preparations", _PREPARATION))
_DELETE_PREPARATION = Statement(
    "DELETE FROM admin_preparations WHERE tenant = :in_tenant AND preparation_id = :in_preparation"
)
_FORGET_EXPIRED = Statement("DELETE FROM admin_preparations WHERE expires_at < :now")

_PUT_REPLICA = Statement(
    f"{insert_into('admin_replicas', _REPLICA)} ON CONFLICT (tenant, instance) DO UPDATE SET"
    " service = excluded.service, revision = excluded.revision, loaded = excluded.loaded,"
    " lease_until = excluded.lease_until"
)
_FORGET_LAPSED = Statement("DELETE FROM admin_replicas WHERE tenant = :in_tenant AND lease_until < :now")
_FORGET_REPLICA = Statement(
    "DELETE FROM admin_replicas WHERE tenant = :in_tenant AND instance = :in_instance"
)
_LIVE_REPLICAS = Statement(
    f"SELECT {listed(_REPLICA)} FROM admin_replicas WHERE tenant = :in_tenant AND lease_until >= :now"
)


def delete_preparation(tenant: str, preparation_id: str) -> Write:
    """Take back the request to load a snapshot, within a larger write."""
    return Write(_DELETE_PREPARATION, {"in_tenant": tenant, "in_preparation": preparation_id})


class SqlStateStore:
    """``StateStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revision(self) -> int:
        """See ``StateStore.revision``."""
        row = await self._database.fetch_one(_REVISION, {"in_tenant": SYSTEM_TENANT})
        return 0 if row is None else int(row["revision"])

    async def load(self) -> State:
        """See ``StateStore.load``."""
        # First: what is read after it may be newer, and is then told again under the next number.
        revision = await self.revision()
        pointers = await self._database.fetch_all(_ALL_POINTERS)
        preparations = await self._database.fetch_all(_ALL_PREPARATIONS)
        keys = await self._database.fetch_all(LIVE_KEYS)
        return State(
            revision,
            tuple(pointer_of(row) for row in pointers),
            tuple(_preparation(row) for row in preparations),
            tuple(key_record(row) for row in keys),
        )

    async def prepare(self, preparation: Preparation) -> None:
        """See ``StateStore.prepare``."""
        row = {
            "tenant": preparation.ref.tenant,
            "preparation_id": preparation.preparation_id,
            "config_hash": preparation.ref.config_hash,
            "expires_at": preparation.expires_at,
        }
        await self._database.write(
            *change(None, Write(_FORGET_EXPIRED, {"now": now_ms()}), Write(_ADD_PREPARATION, row))
        )

    async def withdraw(self, preparation: Preparation) -> None:
        """See ``StateStore.withdraw``."""
        await self._database.write(
            *change(None, delete_preparation(preparation.ref.tenant, preparation.preparation_id))
        )


class SqlReplicaStore:
    """``ReplicaStore`` over a database that several replicas of Admin share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def saw(self, replica: Replica) -> None:
        """See ``ReplicaStore.saw``."""
        row = {
            "tenant": SYSTEM_TENANT,
            "instance": replica.instance,
            "service": replica.service,
            "revision": replica.revision,
            "loaded": orjson.dumps([[ref.tenant, ref.config_hash] for ref in replica.loaded]).decode(),
            "lease_until": replica.lease_until,
        }
        await self._database.write(
            Write(_PUT_REPLICA, row), Write(_FORGET_LAPSED, {"in_tenant": SYSTEM_TENANT, "now": now_ms()})
        )

    async def gone(self, instance: str) -> None:
        """See ``ReplicaStore.gone``."""
        await self._database.write(Write(_FORGET_REPLICA, _instance(instance)))

    async def live(self, now: int) -> list[Replica]:
        """See ``ReplicaStore.live``."""
        rows = await self._database.fetch_all(_LIVE_REPLICAS, {"in_tenant": SYSTEM_TENANT, "now": now})
        return [_replica(row) for row in rows]


def _instance(instance: str) -> dict[str, Any]:
    return {"in_tenant": SYSTEM_TENANT, "in_instance": instance}


def pointer_of(row: Row) -> ReleasePointer:
    """A pointer from a row of ``POINTERS_WITH_DEFAULT``."""
    return ReleasePointer(is_default=row.pop("default_workflow") is not None, **row)


def _preparation(row: Row) -> Preparation:
    ref = SnapshotRef(tenant=row["tenant"], config_hash=row["config_hash"])
    return Preparation(row["preparation_id"], ref, row["expires_at"])


def _replica(row: Row) -> Replica:
    loaded = (
        SnapshotRef(tenant=tenant, config_hash=config_hash)
        for tenant, config_hash in orjson.loads(row["loaded"])
    )
    return Replica(row["service"], row["instance"], row["revision"], frozenset(loaded), row["lease_until"])
