"""JSON logs, one object a line, each with the trace and request that it belongs to."""

import json
import logging
import sys
from datetime import UTC, datetime

import orjson

from signalbox.common.context import current_request
from signalbox.common.telemetry.tracing import current_trace_id

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Renders a record as JSON; whatever was passed as ``extra`` becomes a member."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        request = current_request()
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (trace_id := current_trace_id()) is not None:
            entry["trace_id"] = trace_id
        if request is not None:
            entry["request_id"] = request.request_id
        entry.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(entry, default=str).decode()
        except TypeError:
            # What orjson refuses (half a surrogate pair, an integer over 64 bits) is still worth a line.
            return json.dumps(entry, default=str)


def configure_logging(level: str) -> None:
    """Send all logs of the process to stderr as JSON. Called once, by the command that starts a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for noisy in ("asyncio", "alembic", "litellm", "LiteLLM", "opentelemetry"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
