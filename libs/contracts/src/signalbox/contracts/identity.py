"""Who is asking: principals, scopes and API key records."""

from enum import StrEnum

from pydantic import ConfigDict

from signalbox.contracts.base import EpochMs, ExternalId, Identifier, WireModel

DEFAULT_TENANT = "default"


class Scope(StrEnum):
    """What a credential may do. Every route declares the one scope that it needs."""

    QUERY = "query"
    """Post messages and read the sessions that the principal or its user opened."""
    ACT_FOR_USERS = "act_for_users"
    """Name another user in ``user_id``: for a customer's own backend."""
    SESSIONS_READ = "sessions:read"
    """Read every session of the tenant."""
    LLM = "llm"
    """Call models through the gateway."""
    CONFIG_READ = "config:read"
    CONFIG_WRITE = "config:write"
    """Store, build and publish snapshots."""
    KEYS_WRITE = "keys:write"
    """Create and revoke API keys."""
    SERVICE = "service"
    """Calls between services; never granted to an API key."""


class Principal(WireModel):
    """The identity that a verified credential stands for; the tenant never comes from anywhere else."""

    model_config = ConfigDict(frozen=True)

    tenant: Identifier
    subject: ExternalId
    scopes: frozenset[Scope] = frozenset()
    workflows: frozenset[str] | None = None
    """Workflow ids that the credential may use; ``None`` means all of the tenant's."""

    def may(self, scope: Scope) -> bool:
        """Whether the principal holds ``scope``."""
        return scope in self.scopes

    def may_use(self, workflow_id: str) -> bool:
        """Whether the principal may use the workflow named ``workflow_id``."""
        return self.workflows is None or workflow_id in self.workflows


class KeyRecord(WireModel):
    """An API key as services keep it: the SHA-256 of the secret, never the secret."""

    key_id: str
    tenant: Identifier
    name: str
    secret_sha256: str
    scopes: frozenset[Scope]
    workflows: frozenset[str] | None = None
    created_at: EpochMs
    expires_at: EpochMs | None = None
    revoked_at: EpochMs | None = None

    def principal(self) -> Principal:
        """The principal that presents this key."""
        return Principal(
            tenant=self.tenant, subject=f"key:{self.key_id}", scopes=self.scopes, workflows=self.workflows
        )

    def usable_at(self, now_ms: int) -> bool:
        """Whether the key is neither revoked nor expired at ``now_ms``."""
        return self.revoked_at is None and (self.expires_at is None or now_ms < self.expires_at)
