"""Wall clocks of real processes that jump while they run, by a small library that is loaded into them."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")


def clock_environment(directory: Path) -> dict[str, str]:
    """What a process is started with whose clock is to jump; compiles the library, or skips the test without gcc."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("a clock that jumps is compiled, which needs gcc")
    library = directory / "jumping_clock.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True
    )
    return {"LD_PRELOAD": str(library)}


class Clock:
    """The wall clock of the processes whose data is in one directory; made before they start."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._file = data / "clock-offset"
        self.set(0)

    def set(self, seconds: int) -> None:
        """So many seconds ahead of the true time from now on; behind it, if negative."""
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("=q", seconds))
