"""API keys: made, listed, changed, revoked."""

from typing import Any

from signalbox.admin.errors import GrantExceeded, KeyNotFound, KeyNotGrantable
from signalbox.admin.paging import cut
from signalbox.admin.ports import KeyStore
from signalbox.admin.records import AuditEntry, Cursor, Key
from signalbox.admin.releasing import Propagation
from signalbox.common.auth import create_key
from signalbox.common.ids import now_ms
from signalbox.contracts.admin import ChangeKeyRequest, CreatedKey, CreateKeyRequest, KeyList, KeyView
from signalbox.contracts.identity import KeyRecord, Principal, Scope


class Keys:
    """The keys of a principal's tenant.

    ``propagation`` is None where no service follows: the command line beside the database.
    """

    def __init__(self, store: KeyStore, propagation: Propagation | None) -> None:
        self._store = store
        self._propagation = propagation

    async def create(self, principal: Principal, request: CreateKeyRequest) -> CreatedKey:
        """Make a key. It works, where it is verified, when this returns; its secret is never told again.

        Raises:
            KeyNotGrantable: no key can have these scopes or this expiry.
            GrantExceeded: the principal does not hold what the key is to have.
        """
        scopes = frozenset(request.scopes)
        workflows = self._granted_workflows(principal, request)
        models = _granted_models(principal, request.models)
        self._check_scopes(principal, request)
        now = now_ms()
        if request.expires_at is not None and request.expires_at <= now:
            raise KeyNotGrantable(
                "The key would have expired already; name a later time.", pointer="/expires_at"
            )
        new = create_key()
        record = KeyRecord(
            key_id=new.key_id,
            tenant=principal.tenant,
            name=request.name,
            secret_sha256=new.secret_sha256,
            scopes=scopes,
            workflows=workflows,
            models=models,
            default_max_output=request.default_max_output or principal.default_max_output,
            priority=request.priority,
            created_at=now,
            expires_at=request.expires_at,
        )
        audit = AuditEntry.by(
            principal,
            "key.create",
            new.key_id,
            name=request.name,
            scopes=sorted(scopes),
            workflows=None if workflows is None else sorted(workflows),
            **_of_models(record),
        )
        await self._store.add(Key(record, principal.subject), audit)
        await self._take_effect()
        return CreatedKey(key_id=new.key_id, key=new.key, name=request.name, scopes=sorted(scopes))

    async def list(self, principal: Principal, after: str | None, limit: int) -> KeyList:
        """The tenant's keys, newest first, revoked ones too.

        Raises:
            BadCursor: ``after`` is not what the page before gave.
        """
        page, last = cut(await self._store.keys(principal.tenant, Cursor.parse(after), limit + 1), limit)
        return KeyList(items=[key.view() for key in page], next_after=str(last.cursor) if last else None)

    async def change(self, principal: Principal, key_id: str, request: ChangeKeyRequest) -> KeyView:
        """Change what a key of the tenant may do at the gateway. It holds there when this returns, or soon after.

        Raises:
            KeyNotFound: the tenant has no such key, or it is revoked.
            GrantExceeded: the principal may not call what the key is to call.
        """
        found = await self._store.key(principal.tenant, key_id)
        if found is None or found.record.revoked_at is not None:
            raise KeyNotFound(key_id)
        changes: dict[str, Any] = {}
        if "models" in request.model_fields_set:
            changes["models"] = _granted_models(principal, request.models)
        if "default_max_output" in request.model_fields_set:
            changes["default_max_output"] = request.default_max_output
        if "priority" in request.model_fields_set:
            changes["priority"] = request.priority or 0
        record = found.record.model_copy(update=changes)
        audit = AuditEntry.by(principal, "key.change", key_id, **_of_models(record))
        await self._store.change(record, audit)
        await self._take_effect()
        return Key(record, found.created_by).view()

    async def revoke(self, principal: Principal, key_id: str) -> KeyView:
        """Revoke a key of the tenant. It works nowhere any more when this returns, or soon after.

        Raises:
            KeyNotFound: the tenant has no such key.
        """
        found = await self._store.key(principal.tenant, key_id)
        if found is None:
            raise KeyNotFound(key_id)
        if found.record.revoked_at is None:
            audit = AuditEntry.by(principal, "key.revoke", key_id, name=found.record.name)
            await self._store.revoke(principal.tenant, key_id, audit)
            await self._take_effect()
            found = await self._store.key(principal.tenant, key_id) or found
        return found.view()

    async def _take_effect(self) -> None:
        if self._propagation is not None:
            await self._propagation.take_effect()

    def _check_scopes(self, principal: Principal, request: CreateKeyRequest) -> None:
        if Scope.SERVICE in request.scopes:
            raise KeyNotGrantable(
                "The scope 'service' belongs to calls between services and is never granted.",
                pointer=f"/scopes/{request.scopes.index(Scope.SERVICE)}",
            )
        lacking = sorted(set(request.scopes) - principal.scopes)
        if lacking:
            raise GrantExceeded(
                f"You do not hold {', '.join(lacking)} yourself; use a key that does to grant it.",
                pointer="/scopes",
            )

    def _granted_workflows(self, principal: Principal, request: CreateKeyRequest) -> frozenset[str] | None:
        if request.workflows is None:
            return principal.workflows
        lacking = sorted(name for name in request.workflows if not principal.may_use(name))
        if lacking:
            raise GrantExceeded(
                f"Your own key is not for the workflow(s) {', '.join(lacking)}; leave them out.",
                pointer="/workflows",
            )
        return frozenset(request.workflows)


def _granted_models(principal: Principal, models: list[str] | None) -> frozenset[str] | None:
    if models is None:
        return principal.models
    lacking = sorted(name for name in models if not principal.may_call(name))
    if lacking:
        raise GrantExceeded(
            f"Your own key is not for the model(s) {', '.join(lacking)}; leave them out.", pointer="/models"
        )
    return frozenset(models)


def _of_models(record: KeyRecord) -> dict[str, Any]:
    """What the audit log keeps of a key's use of models."""
    return {
        "models": None if record.models is None else sorted(record.models),
        "default_max_output": record.default_max_output,
        "priority": record.priority,
    }
