"""What is stored of runs."""

from typing import Literal

from signalbox.common.record import record

RunStatus = Literal["running", "waiting", "completed", "failed", "cancelled"]
StepStatus = Literal["begun", "done", "failed", "unknown"]


@record
class RunRecord:
    """One run; the columns of the table ``skills_runs``."""

    tenant: str
    run_id: str
    skill: str
    workflow_id: str
    config_hash: str
    session_id: str
    subject: str
    turn_id: str
    epoch: int
    request: str
    created_at: int
    updated_at: int
    parent_run_id: str | None = None
    user_id: str | None = None
    status: RunStatus = "running"
    reason: str | None = None
    state: str | None = None
    result: str | None = None
    transcript: str | None = None
    attempt: int = 1
    owner: str | None = None
    heartbeat_at: int | None = None
    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pico: int | None = None
    finished_at: int | None = None


@record
class StepRecord:
    """One write of a run; the columns of the table ``skills_run_steps``."""

    tenant: str
    run_id: str
    step: str
    tool: str
    arguments: str
    idempotency_key: str
    begun_at: int
    status: StepStatus = "begun"
    output: str | None = None
    error: str | None = None
    ended_at: int | None = None
