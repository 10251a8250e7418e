"""Which Python ``make`` takes, and what it says where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gates.markdown import ROOT


class Machine:
    """A machine on whose PATH are the commands that the Makefile needs, and those Pythons that a test puts there."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "bin"
        self._path.mkdir()
        self._project = directory / "project"
        self._project.mkdir()
        shutil.copy(ROOT / "Makefile", self._project)
        (self._project / "uv.lock").touch()
        (self._project / "pyproject.toml").touch()
        for command in ("awk", "bash", "find", "make", "uv"):
            found = shutil.which(command)
            (self._path / command).symlink_to(found) if found else self.put(command, "exit 0")

    def put(self, command: str, script: str) -> None:
        """A command that runs this script."""
        file = self._path / command
        file.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        file.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``make`` with these arguments, on this machine's commands alone."""
        return subprocess.run(
            [self._path / "make", *arguments],
            cwd=self._project,
            env={"PATH": str(self._path), "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


REAL = f'exec {sys.executable} "$@"'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without any Python."""
    return Machine(tmp_path)


def test_the_first_python_that_runs_is_taken(machine: Machine) -> None:
    machine.put("python3.11", 'echo "3.11 is not activated" >&2; exit 127')
    machine.put("python3.12", REAL)
    machine.put("python3", REAL)
    assert "--python python3.12\n" in machine.make("-n", "setup").stdout


def test_one_that_is_too_old_is_passed_over(machine: Machine) -> None:
    machine.put("python3", "exit 1")
    machine.put("python3.13", REAL)
    assert "--python python3.13\n" in machine.make("-n", "setup").stdout


@pytest.mark.parametrize(
    ("given", "said"), [([], "none is on the PATH"), (["PYTHON=python3.9"], "python3.9 is not")]
)
def test_without_one_it_says_what_to_do(machine: Machine, given: list[str], said: str) -> None:
    machine.put("python3.9", "exit 1")
    done = machine.make("run", *given)
    assert done.returncode != 0
    assert said in done.stderr
    assert "make run PYTHON=/path/to/python3.11" in done.stderr
