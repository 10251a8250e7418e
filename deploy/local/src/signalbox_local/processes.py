"""One child process: start, wait until ready, stop, kill, restart, freeze."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import psutil

from signalbox_local.accounts import Account
from signalbox_local.errors import LocalError, NotReadyError
from signalbox_local.readiness import Condition

POLL_SECONDS = 0.02


class ManagedProcess:
    """A command with its environment, its log file and the condition that says it is ready.

    The process leads its own process group, so that Ctrl-C in the terminal reaches only the parent and a stop
    reaches every process of the group. ``env`` is the whole environment; ``None`` inherits the parent's.
    Output is appended to ``log``. When the parent ends, however it ends, the group is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Condition | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Describe the process; nothing runs before `start`."""
        self.name = name
        self.command = tuple(command)
        self.log = log
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._ready = ready
        self._account = account
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; raises `LocalError` when it was never started or has been stopped."""
        if self._process is None:
            message = f"{self.name} is not running; start it first"
            raise LocalError(message)
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended, also when it is frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 30.0) -> Self:
        """Start and wait until ready; raises `NotReadyError`, killing it, after ``timeout`` seconds."""
        self.launch()
        try:
            self.wait_ready(timeout)
        except NotReadyError:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start without waiting, so that several processes can start side by side."""
        if self.running:
            message = f"{self.name} is running already (pid {self.pid})"
            raise LocalError(message)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = self._spawn(output)
        self._guard = self._spawn_guard(self._process.pid)

    def _spawn(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        account = self._account
        return subprocess.Popen(  # noqa: S603 - commands are built by this package from paths it resolved
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._env,
            cwd=self._cwd,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def _spawn_guard(self, group: int) -> subprocess.Popen[bytes]:
        # The shell waits for the end of a pipe that only this process holds: it comes even after SIGKILL.
        return subprocess.Popen(  # noqa: S603 - a fixed command
            ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$0"', str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.kill()
            self._guard.wait()
            self._guard.stdin.close()
        self._guard = None

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return when the condition holds; raises `NotReadyError` when it does not in ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                raise NotReadyError(
                    self._complaint(f"ended with status {self.exit_status} before it was ready")
                )
            if self._ready is None or self._ready():
                return
            if time.monotonic() > deadline:
                raise NotReadyError(self._complaint(f"was not ready after {timeout:g} s"))
            time.sleep(POLL_SECONDS)

    @property
    def exit_status(self) -> int | None:
        """Exit status of the last run (negative: the signal that ended it); ``None`` while it runs."""
        return self._process.poll() if self._process is not None else None

    def stop(self, grace: float = 10.0) -> None:
        """Ask the process group to end, and kill what is left of it after ``grace`` seconds."""
        if self._process is None:
            return
        if self.running:
            self.thaw()
            self._signal_group(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the process and everything it started, at once; no-op when it has been stopped."""
        if self._process is None:
            return
        for child in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._dismiss_guard()

    def restart(self, timeout: float = 30.0, *, grace: float = 10.0) -> Self:
        """Stop if running, then start the same command again and wait until ready."""
        self.stop(grace)
        return self.start(timeout)

    def freeze(self) -> None:
        """SIGSTOP the whole tree: connections stay open and nothing answers, as on a machine that hangs.

        Returns when every process has stopped, also those started meanwhile.
        """
        while moving := [member for member in self._tree() if not _is_stopped(member)]:
            for member in moving:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.suspend()
            time.sleep(POLL_SECONDS / 10)

    def thaw(self) -> None:
        """Undo `freeze`."""
        for member in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                member.resume()

    def log_tail(self, lines: int = 20) -> str:
        """The last ``lines`` lines that the process wrote."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _complaint(self, what: str) -> str:
        return f"{self.name} {what}; its log is {self.log} and ends with:\n{self.log_tail()}"

    def _tree(self) -> list[psutil.Process]:
        # PostgreSQL gives every backend a session of its own, so the process group does not reach them.
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        return []

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        """Start and wait until ready."""
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return True
