"""Pages of lists that run from new to old."""

from typing import Any, TypeVar

from signalbox.admin.records import Cursor

ItemT = TypeVar("ItemT")


def page_after(at: str, name: str) -> str:
    """SQL for what comes after the cursor (``after_at``, ``after_id``); the columns that lists are sorted by."""
    return f"({at}, {name}) < (:after_at, :after_id)"


def page_params(after: Cursor, limit: int) -> dict[str, Any]:
    """The parameters of ``page_after``, and of the limit ``at_most``."""
    return {"after_at": after.at, "after_id": after.id, "at_most": limit}


def cut(found: list[ItemT], limit: int) -> tuple[list[ItemT], ItemT | None]:
    """A page out of what was found when one more than ``limit`` was asked for.

    Returns the page and, when there is more, its last item: the next page comes after that.
    """
    page = found[:limit]
    return page, page[-1] if len(found) > limit else None
