"""API keys in the gateway's own file, for a gateway that runs without Admin."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from signalbox.contracts.base import Identifier
from signalbox.contracts.identity import DEFAULT_TENANT, KeyRecord, MaxOutput, ModelName, Priority, Scope


class KeySpec(BaseModel):
    """A key as the file keeps it: the SHA-256 of its secret, never the secret.

    ``signalbox gateway-key`` makes one. Taken out of the file it stops to work within seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$")]
    """The part of the key between its underscores."""
    secret_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    name: str = Field(min_length=1, max_length=100)
    tenant: Identifier = DEFAULT_TENANT
    scopes: list[Scope] = Field(default=[Scope.LLM], min_length=1)
    models: list[ModelName] | None = Field(default=None, min_length=1)
    """Models that it may call; none: all."""
    default_max_output: MaxOutput | None = None
    """Output tokens of an answer to a call that has no cap of its own."""
    priority: Priority = 0
    """Of calls that wait for a limit, those with the larger number are made first."""
    expires: datetime | None = None

    def record(self) -> KeyRecord:
        """As services verify it."""
        return KeyRecord(
            key_id=self.key_id,
            tenant=self.tenant,
            name=self.name,
            secret_sha256=self.secret_sha256,
            scopes=frozenset(self.scopes),
            models=None if self.models is None else frozenset(self.models),
            default_max_output=self.default_max_output,
            priority=self.priority,
            created_at=0,
            expires_at=None if self.expires is None else int(self.expires.timestamp() * 1000),
        )
