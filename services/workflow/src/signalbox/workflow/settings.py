"""Settings of the Workflow service."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from signalbox.common.settings import CommonSettings


class WorkflowSettings(CommonSettings):
    """Common settings and those of turns."""

    lease_ttl_ms: int = Field(default=6_000, ge=1_000)
    """How long a session stays taken when the replica that holds it dies."""
    lease_renew_ms: int = Field(default=2_000, ge=200)
    session_queue: int = Field(default=128, ge=0)
    """Messages that may wait for one session, in all replicas together."""
    session_cache_ms: int = Field(default=3_600_000, ge=0)
    """How long a session stays in the cache; the database has it for good."""
    stream_timeout_ms: int = Field(default=300_000, ge=1_000)
    """Time a streamed turn may take when the client does not say."""
    event_log_ms: int = Field(default=120_000, ge=1_000)
    """How long a turn's events can be resumed after they were sent."""
    text_merge_ms: int = Field(default=30, ge=0, le=1_000)
    """Text deltas that follow each other within this time become one event."""
    snapshot_cache_bytes: int = Field(default=256 * 1024 * 1024, ge=1_048_576)
    """Memory that published workflows may take here. Those that no release names are dropped first, then the active
    ones that were used longest ago; they are read from disk again when somebody asks."""
    rules_max_bytes: int = Field(default=64 * 1024 * 1024, ge=1_048_576)
    """Memory that the rules of one snapshot may use."""
    rules_build_timeout_s: float = Field(default=240.0, gt=0)
    """How long compiling the rules of a snapshot to a database may take; past it RE2 matches them, more slowly."""
    plan_cache_ms: int = Field(default=86_400_000, ge=1)
    """How long a model's decision about a message is kept, to be used when the same is asked."""
    plan_cache_slots: int = Field(default=65_536, ge=0, le=16_777_216)
    """How many decisions are kept per tenant, of some 300 bytes each; 0 keeps none."""
    encoder_file: Path | None = None
    """An ONNX file of a sentence encoder: examples are then compared by meaning, too, not by words alone. Every replica
    has the same file; without it, or with another, they decide by words."""
    examples_timeout_s: float = Field(default=240.0, gt=0)
    """Time that training a snapshot's classifier may take, in seconds; a publish whose training takes longer fails."""
    task_queue: Literal["in_process", "celery"] = "in_process"
    """Where async queries are worked on: in the replicas that answer requests, or by Celery workers
    (``signalbox worker``), which need PostgreSQL and a broker."""
    broker_url: str | None = None
    """Broker of ``task_queue=celery``: ``redis://...``, or ``amqp://...`` for RabbitMQ; none uses ``redis_url``."""
    task_concurrency: int = Field(default=8, ge=1, le=1_000)
    """Async queries that one process works on at the same time."""
    task_timeout_ms: int = Field(default=300_000, ge=1_000)
    """Time that an async query may take once a worker has it."""
    task_stale_ms: int = Field(default=10_000, ge=400)
    """A worker counts as gone when it has not been heard of for this long; others then take its tasks."""
    task_requeue_ms: int = Field(default=10_000, ge=200)
    """How long a task waits for a worker before it is put in the queue again, should the queue have lost it."""
    webhook_timeout_ms: int = Field(default=30_000, ge=100)
    """Time that the receiver of a webhook may take to answer; what a replica that died was delivering is delivered by
    another after twice this."""
    tasks_per_key: int = Field(default=10_000, ge=1)
    """Async queries of one key that may wait or run, those of batches too; more are refused until some ended."""
    approval_ttl_ms: int = Field(default=86_400_000, ge=1)
    """How long a run waits for an operator's approval; after that it counts as refused. A write of unknown outcome
    waits for as long as its session is kept."""
    schedules_per_key: int = Field(default=100, ge=0)
    """Schedules that one key may have."""
    retention_days: int | None = Field(default=None, ge=1)
    """Days after its last message at which a session is deleted, whatever its workflow says; a workflow may keep it for
    less. None leaves it to the workflow."""
    retention_days_by_tenant: dict[str, int] = {}
    """The same for single tenants, instead of ``retention_days``."""
