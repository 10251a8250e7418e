"""`FakeProvider`: the provider for tests, in a thread or a process of its own."""

import atexit
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import uvicorn

from signalbox_fake_provider.app import DEFAULT_MODELS, ProviderState
from signalbox_fake_provider.fields import ScriptError
from signalbox_fake_provider.records import RequestRecord
from signalbox_fake_provider.script import Script
from signalbox_fake_provider.server import HOST, create_server, listen

POLL_SECONDS = 0.01
_START_SECONDS = 15.0
_COUNTS_ONLY = f"requests?after={2**62}"


class FakeProvider:
    """A provider on a free port of the loopback address; a context manager.

    It runs in a thread, or with ``process=True`` in a process of its own, which keeps its timing apart from
    the test's. ``rules`` is the script it starts with and returns to on `reset`: see the README for the
    format.
    """

    def __init__(
        self,
        rules: Sequence[Mapping[str, Any]] = (),
        *,
        port: int = 0,
        process: bool = False,
        models: Sequence[str] = DEFAULT_MODELS,
    ) -> None:
        """Describe the provider; ``models`` are what it lists. Raises `ScriptError` for rules that cannot be used."""
        self._models = tuple(models)
        self._rules = list(rules)
        self._script = Script.parse(self._rules)
        self._wanted_port = port
        self._in_process = process
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Base URL without a path."""
        return f"http://{HOST}:{self._port}"

    @property
    def base_url(self) -> str:
        """Base URL for an OpenAI client, ending in ``/v1``."""
        return f"{self.url}/v1"

    def start(self) -> Self:
        """Start and return when it answers; raises `OSError` when a given port is taken."""
        listener = listen(self._port or self._wanted_port)
        self._port = listener.getsockname()[1]
        if self._in_process:
            command = [sys.executable, "-m", "signalbox_fake_provider", "--listener", str(listener.fileno())]
            command += [word for model in self._models for word in ("--model", model)]
            self._process = subprocess.Popen(
                command, pass_fds=[listener.fileno()], text=True, stdout=subprocess.DEVNULL
            )
            listener.close()
            atexit.register(self.stop)
            self.script(self._rules)
        else:
            self._server = server = create_server(ProviderState(self._script, self._models))
            self._thread = threading.Thread(
                target=server.run, kwargs={"sockets": [listener]}, name="fake-provider", daemon=True
            )
            self._thread.start()
        self.requests()
        return self

    def stop(self) -> None:
        """End at once, breaking every connection; a later `start` listens on the same port."""
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join()
        self._process = self._server = self._thread = None

    def script(self, rules: Sequence[Mapping[str, Any]] | Path) -> None:
        """Replace the script by ``rules`` or those in a file; raises `ScriptError` for a mistake."""
        text = rules.read_text() if isinstance(rules, Path) else json.dumps(list(rules))
        self._control("POST", "script", text.encode())

    def reset(self) -> None:
        """Forget the requests and return to the first script."""
        if self._in_process:
            self.script(self._rules)
        self._control("POST", "reset")

    def requests(self, *, after: int = 0) -> list[RequestRecord]:
        """What was received, oldest first, from the request after the one numbered ``after``."""
        found = self._control("GET", f"requests?after={after}")["requests"]
        return [RequestRecord(**record) for record in found]

    def open_requests(self) -> int:
        """How many requests are being answered now."""
        return int(self._control("GET", _COUNTS_ONLY)["open"])

    def peak_open_requests(self) -> int:
        """The most requests that were being answered at once since the last reset."""
        return int(self._control("GET", _COUNTS_ONLY)["peak_open"])

    def wait_until(self, condition: Callable[[list[RequestRecord]], bool], *, timeout: float = 5.0) -> None:
        """Return when ``condition`` holds for what was received; raises `TimeoutError` if it never does."""
        deadline = time.monotonic() + timeout
        while not condition(seen := self.requests()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the condition did not hold in {timeout:g} s; received: {seen}")
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()

    def _control(self, method: str, path: str, data: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/_control/{path}", data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_START_SECONDS) as reply:
                body: dict[str, Any] = json.load(reply)
                return body
        except urllib.error.HTTPError as error:
            raise ScriptError(json.load(error)["error"]) from error
