"""Settings of the Admin service."""

from pydantic import Field

from signalbox.common.documents import MAX_BYTES
from signalbox.common.settings import CommonSettings


class AdminSettings(CommonSettings):
    """Common settings and those of publishing and of the change feed."""

    max_document_bytes: int = Field(default=MAX_BYTES, ge=1024, le=MAX_BYTES)
    """Largest workflow document, in RFC 8785 form; a request may be a little larger."""
    build_timeout_s: float = Field(default=300.0, gt=0)
    """How long the Workflow service may take to build one snapshot."""
    ready_timeout_s: float = Field(default=10.0, gt=0)
    """How long replicas may take to load a snapshot before it becomes active."""
    effect_timeout_s: float = Field(default=2.0, ge=0)
    """How long a change waits for the replicas to say that they have applied it. It is made in any case."""
    replica_grace_s: float = Field(default=5.0, gt=0)
    """A replica counts as gone when it is this much late with its next poll."""
    state_poll_s: float = Field(default=0.25, gt=0)
    """How often a replica of Admin looks for changes that another one made. Not used with SQLite, whose file
    belongs to one process."""
