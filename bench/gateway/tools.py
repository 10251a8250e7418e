"""The provider and the load: in C where a compiler is, else in Python."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def cache_directory() -> Path:
    """Where peers and compiled tools are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "signalbox-bench"


def command_of(tool: str, cache: Path) -> list[str]:
    """The command line of ``provider`` or ``load``, without its arguments.

    Both forms take the same arguments and print the same; the C one costs a tenth of the CPU.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    source = HERE / "native" / f"{tool}.c"
    if compiler is None or os.environ.get("BENCH_TOOLS") == "python":
        return [sys.executable, str(HERE / "python" / f"{tool}.py")]
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    binary = cache / "native" / f"{tool}-{digest}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-O2", "-o", str(unfinished), str(source)], check=True)
        unfinished.rename(binary)
    return [str(binary)]
