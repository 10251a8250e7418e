"""Plays a page of the documentation: its console blocks are typed, its diffs are applied, its output is compared.

The page is played in a copy of the repository, with a free port in place of 8000. A command that goes on until
Ctrl-C (``make run``, ``signalbox up``) is left running, as in a terminal of its own.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gates.markdown import ROOT, blocks, repository_files

from signalbox_local.companions import neutral_environment

_ENDLESS = re.compile(r"^(?:make run|signalbox up)\b")
_CLIENT = re.compile(r"^signalbox (?:ask|test|publish|releases|keys \w+|doctor)\b")
_PUBLISHED = re.compile(r"^published \w+ release \d+", re.MULTILINE)
_ELLIPSIS = "..."
_DOCUMENTED_PORT = "8000"
_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Typed:
    """A command and the output that the page shows for it."""

    command: str
    shown: list[str]


class EndlessCommand:
    """A command that runs until Ctrl-C."""

    def __init__(self, command: str, directory: Path, environment: dict[str, str], log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._log = log

    @property
    def output(self) -> str:
        """What it has printed so far, logs left out."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return "\n".join(line for line in lines if not line.startswith('{"time"'))

    def wait_for(self, pattern: re.Pattern[str], times: int = 1) -> None:
        """Return when it has printed ``pattern`` so often; fail when it ends before, or takes too long."""
        deadline = time.monotonic() + _DEADLINE_S
        while len(pattern.findall(self.output)) < times:
            assert self._process.poll() is None, f"it ended; it printed:\n{self._everything()}"
            assert time.monotonic() < deadline, f"no {pattern.pattern!r} in:\n{self._everything()}"
            time.sleep(0.05)

    def _everything(self) -> str:
        return self._log.read_text(encoding="utf-8")[-4000:]

    def times_published(self) -> int:
        """How often it has said that it published."""
        return len(_PUBLISHED.findall(self.output))

    def press_ctrl_c(self) -> float:
        """End it as a terminal does; returns how many seconds that took."""
        started = time.monotonic()
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(10.0)
        return time.monotonic() - started

    def kill(self) -> None:
        """End what is left of it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Terminal:
    """Someone who follows a page."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.endless: EndlessCommand | None = None
        # What a make that runs these tests tells its children is not for the commands that a person types.
        of_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
        self._environment = {
            **{name: value for name, value in neutral_environment().items() if name not in of_make},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PORT": str(port),
            "NO_COLOR": "1",
        }

    def follow(self, page: Path) -> None:
        """Do everything that the page says, in its order."""
        for block in blocks(page):
            if block.language == "console":
                for typed in _typed(block.body):
                    self._run(typed)
            elif block.language == "diff":
                self._edit(block.body)

    def _run(self, typed: Typed) -> None:
        command = self._here(typed.command)
        pattern = _pattern([self._here(line) for line in typed.shown])
        if _ENDLESS.match(typed.command):
            assert self.endless is None, "a page starts one server"
            log = self.directory / "terminal.log"
            self.endless = EndlessCommand(command, self.directory, self._environment, log)
            self.endless.wait_for(pattern)
            return
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert not typed.shown or pattern.fullmatch(done.stdout.rstrip("\n")), f"{command}\n{done.stdout}"

    def _edit(self, diff: str) -> None:
        """Apply a diff without line numbers; its context is in the file exactly once."""
        first, *lines = diff.rstrip("\n").splitlines()
        file = self.directory / first.removeprefix("--- ")
        before = "\n".join(line[1:] for line in lines if line[:1] in {" ", "-", ""}) + "\n"
        after = "\n".join(line[1:] for line in lines if line[:1] in {" ", "+", ""}) + "\n"
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{file.name} has this {text.count(before)} times:\n{before}"
        published = self.endless.times_published() if self.endless is not None else 0
        file.write_text(text.replace(before, after), encoding="utf-8")
        if self.endless is not None and file.name == "workflow.yaml":
            self.endless.wait_for(_PUBLISHED, published + 1)

    def _here(self, text: str) -> str:
        """A command, or a line of output, for the port and the environment that this page is played with."""
        text = text.replace(f"127.0.0.1:{_DOCUMENTED_PORT}", f"127.0.0.1:{self.port}")
        if text.startswith("make "):
            # The environment is there; to make it again would take minutes.
            return text.replace("make ", "make --old-file=.venv/.synced ", 1)
        if text.startswith("signalbox up"):
            return f"{text} --port {self.port}"
        if _CLIENT.match(text) and "--url" not in text:
            return f"{text} --url http://127.0.0.1:{self.port}"
        return text


def copy_repository(target: Path) -> Path:
    """A clone as a newcomer has it, with this environment as its ``.venv``."""
    for file in repository_files():
        copy = target / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    (target / ".venv").symlink_to(sys.prefix)
    if (ROOT / ".tools").exists():
        (target / ".tools").symlink_to(ROOT / ".tools")
    return target


def _typed(block: str) -> list[Typed]:
    found: list[Typed] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Typed(line[2:], []))
        else:
            found[-1].shown.append(line)
    return found


def _pattern(shown: list[str]) -> re.Pattern[str]:
    """What the output must look like: ``...`` is any text, and on a line of its own any lines."""
    parts: list[str] = []
    for number, line in enumerate(shown):
        last = number == len(shown) - 1
        if line == _ELLIPSIS:
            parts.append("(?:.*\n)*" if not last else "(?:.*\n)*.*")
        else:
            parts.append(".*".join(map(re.escape, line.split(_ELLIPSIS))) + ("" if last else "\n"))
    return re.compile("".join(parts))
