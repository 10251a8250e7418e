"""Which timers of a session fire when."""

from collections.abc import Sequence
from dataclasses import replace

import orjson

from signalbox.common.record import record
from signalbox.contracts.config import Timer
from signalbox.workflow.records import Session, TimerSet


@record
class Planned:
    """One timer of a session: when it fires next, and how often it has fired."""

    id: str
    due_at: int
    fired: int = 0


def set_by(timers: Sequence[Timer], after: Session, now: int) -> TimerSet | None:
    """What a turn of the user sets; ``after`` is the session that it leaves.

    None where there is nothing to wait for: a person has taken over, or the session is closed.
    """
    if not timers or after.status in ("transferred", "closed"):
        return None
    planned = [Planned(timer.id, now + timer.delay_seconds * 1000) for timer in timers]
    return _stored(after.tenant, after.session_id, after.epoch, after.last_seq, planned)


def planned_of(timers: TimerSet) -> list[Planned]:
    """The timers of a stored row, by when they are due."""
    return sorted((Planned(**entry) for entry in orjson.loads(timers.plan)), key=lambda entry: entry.due_at)


def after_firing(taken: TimerSet, fired: Planned, timer: Timer | None, now: int) -> TimerSet | None:
    """What is left once ``fired`` has fired; ``timer`` is what the config says of it now, None where it is gone."""
    left = [entry for entry in planned_of(taken) if entry.id != fired.id]
    count = fired.fired + 1
    if timer is not None and count < timer.max_triggers:
        left.append(replace(fired, due_at=now + timer.delay_seconds * 1000, fired=count))
    if not left:
        return None
    following = _stored(taken.tenant, taken.session_id, taken.epoch, taken.seq, left)
    return replace(following, revision=taken.revision + 1)


def _stored(tenant: str, session_id: str, epoch: int, seq: int, planned: Sequence[Planned]) -> TimerSet:
    plan = [{"id": entry.id, "due_at": entry.due_at, "fired": entry.fired} for entry in planned]
    due_at = min(entry.due_at for entry in planned)
    return TimerSet(tenant, session_id, epoch, seq, due_at, orjson.dumps(plan).decode())
