"""What the head of a request says to every service: its id, its time, the length of its body."""

import re
from collections.abc import Mapping

from signalbox.common.context import DEFAULT_TIMEOUT_MS, Deadline, RequestContext
from signalbox.common.ids import label_id
from signalbox.contracts import headers as names

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_DIGITS = re.compile(r"[0-9]{1,18}")
_MAX_TIMEOUT_MS = 3_600_000


def request_context(headers: Mapping[str, str]) -> RequestContext:
    """The request's id, given or new, and its deadline (header names are lower-case)."""
    request_id = headers.get(names.REQUEST_ID)
    if request_id is None or not _REQUEST_ID.fullmatch(request_id):
        request_id = label_id("req")
    asked = whole_number(headers.get(names.TIMEOUT_MS))
    milliseconds = DEFAULT_TIMEOUT_MS if asked is None else min(asked, _MAX_TIMEOUT_MS)
    return RequestContext(request_id, Deadline.after(milliseconds / 1000))


def whole_number(value: str | None) -> int | None:
    """The number that a header's value is; None when it is none or too large to be meant."""
    return int(value) if value is not None and _DIGITS.fullmatch(value) else None
