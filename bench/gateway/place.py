"""Where a bench keeps its files, and how it starts a subject."""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from loads import Load, Subject
from machine import SUBJECT_CORE, on_core

from signalbox_local.companions import neutral_environment
from signalbox_local.ports import HOST
from signalbox_local.processes import ManagedProcess

FIRST_CALL = Load(0, 0, 1)
_START_S = 180.0


@dataclass(frozen=True, slots=True)
class Place:
    """One run: a directory for its files, the cache of installed peers, the provider's port, where a profile goes."""

    directory: Path
    cache: Path
    provider_port: int
    profile: Path | None = None

    @property
    def provider_url(self) -> str:
        """Base URL of the provider, as OpenAI's clients take it."""
        return f"http://{HOST}:{self.provider_port}/v1"

    @contextmanager
    def running(
        self,
        subject: Subject,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        find_port: Callable[[Path], int | None] | None = None,
    ) -> Iterator[Subject]:
        """Start a subject on its core, wait for its first right answer, and end it.

        ``find_port`` reads the port from the subject's log where it chooses one itself.
        """
        log = self.directory / f"{subject.name}.log"
        found = [subject]

        def ready() -> bool:
            if find_port is not None and not found[0].port:
                found[0] = replace(found[0], port=find_port(log) or 0)
            return bool(found[0].port) and answers(found[0])

        process = ManagedProcess(
            subject.name,
            command,
            log=log,
            env={**neutral_environment(), **(env or {})},
            cwd=self.directory,
            ready=ready,
        )
        started = time.monotonic()
        with on_core(SUBJECT_CORE):
            process.launch()
        try:
            process.wait_ready(_START_S)
            yield replace(found[0], pids=[process.pid], ready_s=time.monotonic() - started)
        finally:
            process.stop()


Starter = Callable[[Place], AbstractContextManager[Subject]]
"""Starts a subject; raises Missing where it cannot be had."""


def answers(subject: Subject) -> bool:
    """Whether it answers a call with status 200."""
    content = subject.request(FIRST_CALL).partition(b"\r\n\r\n")[2]
    connection = http.client.HTTPConnection(HOST, subject.port, timeout=20)
    try:
        connection.request(
            "POST", subject.path, content, {"content-type": "application/json", **subject.headers}
        )
        reply = connection.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return reply.status == 200
    finally:
        connection.close()
