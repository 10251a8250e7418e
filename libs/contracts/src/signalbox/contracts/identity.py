"""Who is asking: principals, scopes and API key records."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

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
    SESSIONS_DELETE = "sessions:delete"
    """Delete every session of the tenant, and erase users."""
    TOOLS = "tools"
    """Call the tools of workflows directly, as an MCP client does."""
    LLM = "llm"
    """Call models through the gateway."""
    CONFIG_READ = "config:read"
    CONFIG_WRITE = "config:write"
    """Store, build and publish snapshots."""
    APPROVALS = "approvals"
    """See the runs of the tenant that wait for an operator, and decide on them."""
    KEYS_WRITE = "keys:write"
    """Create and revoke API keys."""
    SERVICE = "service"
    """Calls between services; never granted to an API key."""


def _known(scopes: object) -> object:
    """Scopes less those that only a newer release knows: what they allow does not exist here."""
    if not isinstance(scopes, list | tuple | set | frozenset):
        return scopes
    return [scope for scope in scopes if not isinstance(scope, str) or scope in _SCOPES]


_SCOPES = frozenset(str(scope) for scope in Scope)

KeptScopes = Annotated[frozenset[Scope], BeforeValidator(_known)]
"""Scopes of a credential that was made before, perhaps by another release.

Replicas of two releases run side by side for a while, so one that is unknown is left out and the rest holds. An old
credential has what it was given and nothing that came later: no update widens what somebody may do.
"""

_KEY_SUBJECT = "key:"


def key_id_of(subject: str) -> str | None:
    """The id of the API key that a principal's subject stands for; None for any other subject."""
    return subject.removeprefix(_KEY_SUBJECT) if subject.startswith(_KEY_SUBJECT) else None


ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""The name of a model, as callers of the gateway use it."""

MaxOutput = Annotated[int, Field(ge=1, le=10_000_000)]
Priority = Annotated[int, Field(ge=-100, le=100)]


class Principal(WireModel):
    """The identity that a verified credential stands for; the tenant never comes from anywhere else."""

    model_config = ConfigDict(frozen=True)

    tenant: Identifier
    subject: ExternalId
    scopes: KeptScopes = frozenset()
    workflows: frozenset[str] | None = None
    """Workflow ids that the credential may use; ``None`` means all of the tenant's."""
    models: frozenset[str] | None = None
    """Names of models that the credential may call at the gateway; ``None`` means all."""
    default_max_output: int | None = None
    """Output tokens that an answer to a model call may have when the call does not say so."""
    priority: int = 0
    """Of model calls that wait for a limit, those with the larger number are admitted first."""

    def may(self, scope: Scope) -> bool:
        """Whether the principal holds ``scope``."""
        return scope in self.scopes

    def may_use(self, workflow_id: str) -> bool:
        """Whether the principal may use the workflow named ``workflow_id``."""
        return self.workflows is None or workflow_id in self.workflows

    def may_call(self, model: str) -> bool:
        """Whether the principal may call the model named ``model``."""
        return self.models is None or model in self.models


class KeyRecord(WireModel):
    """An API key as services keep it: the SHA-256 of the secret, never the secret."""

    key_id: str
    tenant: Identifier
    name: str
    secret_sha256: str
    scopes: KeptScopes
    workflows: frozenset[str] | None = None
    models: frozenset[str] | None = None
    default_max_output: int | None = None
    priority: int = 0
    created_at: EpochMs
    expires_at: EpochMs | None = None
    revoked_at: EpochMs | None = None

    def principal(self) -> Principal:
        """The principal that presents this key."""
        return Principal(
            tenant=self.tenant,
            subject=f"{_KEY_SUBJECT}{self.key_id}",
            scopes=self.scopes,
            workflows=self.workflows,
            models=self.models,
            default_max_output=self.default_max_output,
            priority=self.priority,
        )

    def usable_at(self, now_ms: int) -> bool:
        """Whether the key is neither revoked nor expired at ``now_ms``."""
        return self.revoked_at is None and (self.expires_at is None or now_ms < self.expires_at)
