"""What every local system has, whatever its shape: a directory, companions, an environment, and an end."""

import secrets
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from signalbox_local.companions import Companion, fake_provider, neutral_environment, shop_backend
from signalbox_local.errors import LocalError

# Services drain for three seconds (SIGNALBOX_DRAIN_SECONDS); the whole system ends in less than five.
SERVICE_GRACE_SECONDS = 3.3
STORE_GRACE_SECONDS = 1.2
_CLI_SECONDS = 120


def signalbox_command(*arguments: str) -> list[str]:
    """The command line of ``signalbox ARGUMENTS`` run by this interpreter."""
    return [sys.executable, "-m", "signalbox.common.cli", *arguments]


class LocalSystem(ABC):
    """A running Signalbox on this machine; a context manager.

    ``directory`` keeps data and logs; without it they are temporary and removed by `stop`. ``env`` adds to
    the environment of every Signalbox process, and wins. ``shop`` starts the example's backend, ``provider``
    the fake provider (``True``, or the path of its script), and both are made known to Signalbox.
    """

    def __init__(
        self,
        directory: Path | None,
        *,
        env: Mapping[str, str] | None,
        shop: bool,
        provider: bool | Path,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        """Describe the system; nothing runs before `start`."""
        self._temporary = directory is None
        place = Path(tempfile.gettempdir()) / f"signalbox-{secrets.token_hex(8)}"
        self.directory = directory.absolute() if directory else place
        self.logs = self.directory / "logs"
        self._env = dict(env or {})
        self._say = on_progress or (lambda _line: None)
        self.shop: Companion | None = shop_backend(self.directory, self.logs) if shop else None
        self.provider: Companion | None = None
        if provider:
            self.provider = fake_provider(self.logs, provider if isinstance(provider, Path) else None)

    @property
    @abstractmethod
    def edge_url(self) -> str:
        """Base URL at which clients find the system, without a slash at its end."""

    @abstractmethod
    def start(self, timeout: float = 60.0) -> Self:
        """Start everything and return when it can be used; what was started is stopped when that fails."""

    @abstractmethod
    def stop(self) -> None:
        """End everything, in less than five seconds, and remove temporary data."""

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """The variables that lead a Signalbox process to its stores and to its peers."""

    def environment(self) -> dict[str, str]:
        """The whole environment of a Signalbox process of this system, also for commands run against it."""
        companions: dict[str, str] = {}
        for companion in self._companions():
            companions |= companion.environment
        return {**neutral_environment(), **companions, **self._environment(), **self._env}

    def run_cli(self, *arguments: str, timeout: float = _CLI_SECONDS) -> str:
        """Run ``signalbox ARGUMENTS`` in the system's environment and return what it printed.

        Raises `LocalError` with its output when it fails.
        """
        self._prepare()
        done = subprocess.run(  # noqa: S603 - this interpreter and our own package
            signalbox_command(*arguments),
            env=self.environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            command = " ".join(arguments)
            raise LocalError(
                f"`signalbox {command}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def _prepare(self) -> None:
        """Create the directory, which holds secrets and data, for this user alone."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _companions(self) -> list[Companion]:
        return [companion for companion in (self.shop, self.provider) if companion is not None]

    def _start_companions(self, timeout: float) -> None:
        self._prepare()
        for companion in self._companions():
            companion.process.start(timeout)
            self._say(f"{companion.process.name}: {companion.url}")

    def _stop_companions(self) -> list[Callable[[], None]]:
        return [companion.process.stop for companion in self._companions()]

    def _discard(self) -> None:
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()


def all_at_once(actions: Iterable[Callable[[], None]]) -> None:
    """Run ``actions`` side by side and return when every one has ended; raises the first error of any."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        for future in [pool.submit(action) for action in actions]:
            future.result()
