"""Errors of the Workflow service.

::

    SignalboxError
    ├── SessionBusy           409  another message of the session is being answered
    ├── LeaseLost             409  another replica took the session over; nothing was committed
    ├── TurnCancelled         409  somebody cancelled the turn; nothing was committed
    ├── ShuttingDown          503  the process that ran the turn ends; nothing was committed
    ├── SkillNotDirect        422  the workflow has no such skill that clients may address
    ├── FlowNotInterruptible  409  the open flow lets nothing else in
    ├── UnknownTimezone       422  no IANA time zone of that name
    ├── IdempotencyKeyReused  422  the same key came with another body
    ├── IdempotencyInProgress 409  the same key is being answered
    ├── SessionNotFound       404
    ├── TurnNotFound          404
    ├── TaskNotFound          404
    ├── BatchNotFound         404
    ├── ScheduleNotFound      404
    ├── WebhookNotFound       404
    ├── WebhookNotDead        409  only a webhook that was given up is replayed
    ├── WebhookSecretMissing  422  the tenant has no such secret to sign with
    ├── BadCron               422  no cron expression
    ├── PausedRunNotFound     404
    ├── AlreadyDecided        409  a decision was taken on the run before
    ├── DecisionUnfit         422  the decision does not fit what the run waits for
    ├── TooManySchedules      422
    ├── TooManyTasks          429  as many tasks of the key wait as may
    ├── TaskGivenUp           500  a task was begun too often
    ├── QueueUnusable              a start with a task queue that this process cannot use
    ├── TurnLost              503  the process that ran the turn has died; nothing was committed
    ├── EventsGone            410  the event log has expired
    └── EncoderMissing             a start with an encoder that cannot be run
"""

from signalbox.common.errors import (
    Conflict,
    NotFound,
    RateLimited,
    SignalboxError,
    Unavailable,
    ValidationFailed,
)


class SessionBusy(Conflict):
    """Another message of the session is being answered, and policy or the queue's length forbids waiting."""

    code = "session_busy"
    title = "Session busy"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"Session '{session_id}' is answering another message; wait for it, then send this one again.",
            headers={"Retry-After": "1"},
        )


class SkillNotDirect(ValidationFailed):
    """A client addressed a skill that is not there, or that the workflow keeps to itself."""

    code = "skill_not_direct"
    title = "Skill cannot be addressed"

    def __init__(self, skill: str, workflow_id: str) -> None:
        super().__init__(
            f"The workflow '{workflow_id}' has no skill '{skill}' that a client may address; "
            "leave `skill` out, or name one that has `direct: true`.",
            pointer="/skill",
        )


class FlowNotInterruptible(Conflict):
    """A client addressed a skill while a flow is open that lets nothing else in."""

    code = "flow_not_interruptible"
    title = "Flow not interruptible"

    def __init__(self, flow: str) -> None:
        super().__init__(f"The flow '{flow}' has to end first; answer its question, without `skill`.")


class LeaseLost(Conflict):
    """Another turn of the session was committed meanwhile; this one was discarded."""

    code = "lease_lost"
    title = "Turn discarded"

    def __init__(self) -> None:
        super().__init__("Another turn of this session was committed first; nothing of this one was kept.")


class TurnCancelled(Conflict):
    """The turn was cancelled; nothing of it was kept."""

    code = "turn_cancelled"
    title = "Turn cancelled"

    def __init__(self) -> None:
        super().__init__("The turn was cancelled before it was committed.")


class ShuttingDown(Unavailable):
    """The process that ran the turn ends before the turn did; nothing of it was kept."""

    code = "shutting_down"
    title = "Shutting down"

    def __init__(self) -> None:
        super().__init__(
            "The server ends and stopped this turn before it was committed; send the message again.",
            headers={"Retry-After": "1"},
        )


class IdempotencyKeyReused(ValidationFailed):
    """The key was used for another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came with another request body before; use a new key.")


class UnknownTimezone(ValidationFailed):
    """The request's time zone is none of the IANA time zone database."""

    code = "unknown_timezone"

    def __init__(self, timezone: str) -> None:
        super().__init__(
            f"There is no time zone '{timezone}'; use an IANA name such as Europe/Berlin.",
            pointer="/timezone",
        )


class IdempotencyInProgress(Conflict):
    """The first request with this key is still being answered."""

    code = "idempotency_in_progress"

    def __init__(self) -> None:
        super().__init__(
            "The first request with this Idempotency-Key is still being answered; ask again in a second.",
            headers={"Retry-After": "1"},
        )


class SessionNotFound(NotFound):
    """No such session for this principal."""

    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"There is no session '{session_id}'.")


class TurnNotFound(NotFound):
    """No such turn for this principal."""

    code = "turn_not_found"

    def __init__(self, turn_id: str) -> None:
        super().__init__(f"There is no turn '{turn_id}'.")


class EventsGone(SignalboxError):
    """The turn's event log has expired, or its beginning has."""

    code = "events_gone"
    status = 410
    title = "Events gone"

    def __init__(self, turn_id: str, first: int | None = None) -> None:
        kept = "none is" if first is None else f"the first one kept is {first}"
        super().__init__(
            f"The next events of turn '{turn_id}' are no longer kept ({kept});"
            f" its outcome is at /api/v1/turn/{turn_id}."
        )


class TurnLost(Unavailable):
    """The process that ran the turn has died; nothing of it was committed."""

    code = "turn_lost"
    title = "Turn lost"

    def __init__(self, turn_id: str) -> None:
        super().__init__(
            f"The process that ran turn '{turn_id}' has ended before it committed; send the message again.",
            headers={"Retry-After": "1"},
        )


class EncoderMissing(SignalboxError):
    """The settings name a sentence encoder that this process cannot run."""

    code = "encoder_missing"
    title = "Encoder missing"


class TaskNotFound(NotFound):
    """No such task for this principal."""

    code = "task_not_found"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task '{task_id}'.")


class BatchNotFound(NotFound):
    """No such batch for this principal."""

    code = "batch_not_found"

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"There is no batch '{batch_id}'.")


class ScheduleNotFound(NotFound):
    """No such schedule for this principal."""

    code = "schedule_not_found"

    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"There is no schedule '{schedule_id}'.")


class WebhookNotFound(NotFound):
    """The tenant has no such webhook."""

    code = "webhook_not_found"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"There is no webhook '{webhook_id}'.")


class WebhookNotDead(Conflict):
    """The webhook was not given up: it was delivered, or will be tried."""

    code = "webhook_not_dead"

    def __init__(self, webhook_id: str, status: str) -> None:
        super().__init__(f"The webhook '{webhook_id}' is {status}; only one that was given up is replayed.")


class WebhookSecretMissing(ValidationFailed):
    """The tenant has no secret of that name, so that nothing could be signed with it."""

    code = "webhook_secret_missing"

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"There is no {reference} to sign with; ask an operator to add it, or name another.",
            pointer="/webhook/secret",
        )


class BadCron(ValidationFailed):
    """The expression names no times."""

    code = "bad_cron"

    def __init__(self, cron: str, reason: str) -> None:
        super().__init__(
            f"'{cron}' is no schedule ({reason}); write minute, hour, day of month, month and day of week, "
            "such as '30 9 * * 1-5'.",
            pointer="/cron",
        )


class PausedRunNotFound(NotFound):
    """No run of this id waits for an operator, or did, that the caller may see."""

    code = "paused_run_not_found"

    def __init__(self, pause_id: str) -> None:
        super().__init__(
            f"There is no paused run '{pause_id}'; 'GET /api/v1/paused-runs' lists those that wait."
        )


class AlreadyDecided(Conflict):
    """Somebody has decided on this run before."""

    code = "already_decided"

    def __init__(self, decision: str | None, by: str | None) -> None:
        super().__init__(f"The decision '{decision}' was taken before, by '{by}'; nothing was changed.")


class DecisionUnfit(ValidationFailed):
    """The decision does not fit what the run waits for."""

    code = "decision_unfit"

    def __init__(self, reason: str, fitting: str) -> None:
        super().__init__(f"The run waits for {reason}: decide one of {fitting}.", pointer="/decision")


class TooManySchedules(ValidationFailed):
    """The key has as many schedules as it may have."""

    code = "too_many_schedules"

    def __init__(self, most: int) -> None:
        super().__init__(f"A key has at most {most} schedules; delete one first.")


class TooManyTasks(RateLimited):
    """So many async queries of the key are not ended that it may post no more of them now."""

    code = "too_many_tasks"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"At most {most} async queries of a key may wait or run, and there is no room for these: "
            "post them again when others have ended, or cancel some."
        )


class TaskGivenUp(SignalboxError):
    """Every worker that took the task ended before the task did."""

    code = "task_given_up"
    title = "Task given up"

    def __init__(self, attempts: int) -> None:
        super().__init__(f"The task was begun {attempts} times and never ended; it is not tried again.")


class QueueUnusable(SignalboxError):
    """The settings name a task queue that this process cannot use; the sentence says what to change."""

    code = "queue_unusable"
    title = "Task queue unusable"
