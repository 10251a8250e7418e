"""What is kept of runs: shown to an export, and forgotten with its session."""

from dataclasses import asdict
from typing import Any

import orjson

from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions
from signalbox.skills.ports import Runs
from signalbox.skills.records import RunRecord, StepRecord

_PAGE = 50
_JSON = ("request", "state", "result", "transcript", "arguments", "output", "error")
_INTERNAL = frozenset({"tenant", "owner", "heartbeat_at"})


class KeptRuns:
    """Runs of sessions. Runs belong to sessions, never to a user alone."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def forget(self, tenant: str, what: OfSessions) -> Forgotten:
        """Remove the runs of sessions."""
        return Forgotten(rows=await self._runs.forget(tenant, what.session_ids) if what.session_ids else 0)

    async def page(self, tenant: str, asked: KeptDataRequest) -> KeptData:
        """Runs of sessions with their steps."""
        if not asked.session_ids:
            return KeptData()
        found = await self._runs.kept(tenant, asked.session_ids, asked.after or "", _PAGE)
        items = [{**_shown(run), "steps": [_shown(step) for step in steps]} for run, steps in found]
        return KeptData(items=items, next_after=found[-1][0].run_id if len(found) == _PAGE else None)


def _shown(kept: RunRecord | StepRecord) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(kept).items() if name not in _INTERNAL}
    return {name: _parsed(value) if name in _JSON else value for name, value in shown.items()}


def _parsed(stored: str | None) -> Any:
    try:
        return None if stored is None else orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored
