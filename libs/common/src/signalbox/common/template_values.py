"""What templates of a workflow see of the turn and of the workflow, the same in every service."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from signalbox.contracts.context import CallContext

Variable = str | int | float | bool


def effective_variables(
    declared: Mapping[str, Variable], overrides: Mapping[str, str]
) -> dict[str, Variable]:
    """The workflow's variables (``vars``) with those that the operator's settings replace.

    A setting is text: it takes the type of the variable that it replaces, and stays text where it cannot.
    Settings that name no variable of the workflow are left out.
    """
    return {
        name: _typed_like(value, overrides[name]) if name in overrides else value
        for name, value in declared.items()
    }


def context_values(context: CallContext) -> dict[str, Any]:
    """The turn as templates see it under ``context``; ``today`` is a date in the session's time zone."""
    return {
        "session_id": context.session_id,
        "user_id": context.user_id,
        "turn_id": context.turn_id,
        "workflow_id": context.workflow_id,
        "language": context.language,
        "timezone": context.timezone,
        "now_ms": context.now_ms,
        "today": local_date(context).isoformat(),
        "profile": context.profile,
        "metadata": context.metadata,
    }


def local_date(context: CallContext) -> date:
    """The turn's date in the session's time zone; in UTC where the zone is not known."""
    try:
        zone = ZoneInfo(context.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.fromtimestamp(context.now_ms / 1000, UTC).date()
    return datetime.fromtimestamp(context.now_ms / 1000, zone).date()


def _typed_like(declared: Variable, text: str) -> Variable:
    if isinstance(declared, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(declared, bool) or isinstance(value, bool):
        return value if isinstance(declared, bool) and isinstance(value, bool) else text
    return value if isinstance(value, int | float) else text
