"""The queue over Celery: a message names a task, and means "look now". Celery is imported when it is first used."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from signalbox.workflow.background.records import TaskName
from signalbox.workflow.errors import QueueUnusable
from signalbox.workflow.settings import WorkflowSettings

if TYPE_CHECKING:
    from celery import Celery

_LOG = logging.getLogger(__name__)

LOOK = "signalbox.look"
QUEUE = "signalbox-tasks"
_MOST_WAITING = 10_000
"""More are not remembered while the broker is away: their rows are, and the sweeper finds them."""
_AT_ONCE = 500
_PATIENCE_S = 2.0
_VISIBLE_AGAIN_S = 300
"""When Redis hands a message out again that nobody has acknowledged. The sweeper is quicker; twice does no harm."""


class CeleryQueue:
    """``TaskQueue`` that sends messages to a broker, from a thread: Celery's client blocks."""

    def __init__(self, settings: WorkflowSettings) -> None:
        check(settings)
        self._settings = settings
        self._waiting: deque[TaskName] = deque(maxlen=_MOST_WAITING)
        self._put = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="celery-sender")
        self._app: Celery | None = None

    def put(self, names: Iterable[TaskName]) -> None:
        """See ``TaskQueue.put``."""
        self._waiting.extend(names)
        self._put.set()

    def start(self) -> None:
        """Send what is put."""
        self._sender = asyncio.create_task(self._send(), name="celery-sender")

    async def stop(self) -> None:
        """Send no more; what was not sent is found by the sweeper."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        down = False
        while True:
            await self._put.wait()
            self._put.clear()
            while self._waiting:
                names = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                try:
                    await loop.run_in_executor(self._thread, self._publish, names)
                    down = False
                except Exception as error:  # noqa: BLE001 - whatever the client of the broker raises
                    if not down:
                        _LOG.warning("the broker is away, tasks wait for the sweeper: %s", error)
                    down = True

    def _publish(self, names: list[TaskName]) -> None:
        if self._app is None:
            self._app = celery_app(self._settings)
        with self._app.producer_or_acquire() as producer:
            for name in names:
                self._app.send_task(
                    LOOK, args=tuple(name), producer=producer, retry=False, ignore_result=True
                )


def check(settings: WorkflowSettings) -> None:
    """Whether the settings name what workers need.

    Raises:
        QueueUnusable: they do not; the sentence says what is missing.
    """
    if not settings.database_url:
        raise QueueUnusable(
            "SIGNALBOX_TASK_QUEUE=celery needs PostgreSQL, which workers share with the other replicas: "
            "set SIGNALBOX_DATABASE_URL."
        )
    if not (settings.broker_url or settings.redis_url):
        raise QueueUnusable(
            "SIGNALBOX_TASK_QUEUE=celery needs a broker: set SIGNALBOX_REDIS_URL or SIGNALBOX_BROKER_URL."
        )


def celery_app(settings: WorkflowSettings) -> "Celery":
    """Celery as the sender and the worker use it.

    Raises:
        QueueUnusable: Celery is not installed here.
    """
    try:
        from celery import Celery  # noqa: PLC0415 - only where workers are used
    except ImportError as error:
        raise QueueUnusable(
            "SIGNALBOX_TASK_QUEUE=celery needs Celery: install signalbox-workflow[celery]."
        ) from error

    broker = settings.broker_url or settings.redis_url or ""
    app = Celery("signalbox", broker=broker, set_as_current=False)
    app.conf.update(_configuration(broker))
    return app


def _configuration(broker: str) -> dict[str, Any]:
    transport: dict[str, Any] = {}
    if broker.startswith(("redis", "rediss", "sentinel")):
        transport = {
            "visibility_timeout": _VISIBLE_AGAIN_S,
            "socket_timeout": _PATIENCE_S * 5,
            "socket_connect_timeout": _PATIENCE_S,
            "socket_keepalive": True,
            "global_keyprefix": "signalbox-celery:",
        }
    return {
        "accept_content": ["json"],
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": _PATIENCE_S,
        "broker_transport_options": transport,
        "task_acks_late": True,
        "task_default_queue": QUEUE,
        "task_ignore_result": True,
        "task_serializer": "json",
        # Nothing but the messages goes through the broker: no events, no remote control, no clocks.
        "task_send_sent_event": False,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
    }
