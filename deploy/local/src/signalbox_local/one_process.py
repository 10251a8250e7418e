"""Signalbox as one process: SQLite and an in-memory cache, nothing else."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from signalbox_local.ports import HOST, free_port, require_free
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import answers_http
from signalbox_local.system import SERVICE_GRACE_SECONDS, LocalSystem, all_at_once, signalbox_command


class OneProcess(LocalSystem):
    """``signalbox up`` on a loopback port, with its data under ``directory``.

    ``arguments`` are further arguments of ``signalbox up``.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        shop: bool = False,
        provider: bool | Path = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Describe the system; nothing runs before `start`."""
        super().__init__(directory, env=env, shop=shop, provider=provider, on_progress=on_progress)
        self.port = port or free_port()
        self.process = ManagedProcess(
            "signalbox",
            signalbox_command("up", *arguments, "--port", str(self.port), "--data", str(self.data)),
            log=self.logs / "signalbox.log",
            env=self.environment(),
            ready=answers_http(f"{self.edge_url}/ready"),
        )

    @property
    def data(self) -> Path:
        """Directory of the databases."""
        return self.directory / "data"

    @property
    def edge_url(self) -> str:
        """Base URL of the process."""
        return f"http://{HOST}:{self.port}"

    def service(self, _name: str, _index: int = 0) -> ManagedProcess:
        """The one process, whichever service is asked for: so tests can kill a service in every shape."""
        return self.process

    def start(self, timeout: float = 60.0) -> Self:
        """Start the companions and the process, and return when it is ready."""
        require_free(self.port, "Signalbox")
        try:
            self._start_companions(timeout)
            self.process.start(timeout)
        except BaseException:
            self.stop()
            raise
        self._say(f"signalbox: {self.edge_url}")
        return self

    def kill(self) -> None:
        """SIGKILL the process; `restart` starts it again on the same data and port."""
        self.process.kill()

    def restart(self, timeout: float = 60.0) -> Self:
        """Stop the process if it runs and start it again."""
        self.process.restart(timeout, grace=SERVICE_GRACE_SECONDS)
        return self

    def stop(self) -> None:
        """End everything, in less than five seconds, and remove temporary data."""
        all_at_once([partial(self.process.stop, SERVICE_GRACE_SECONDS), *self._stop_companions()])
        self._discard()

    def _environment(self) -> dict[str, str]:
        return {"SIGNALBOX_DATA": str(self.data)}
