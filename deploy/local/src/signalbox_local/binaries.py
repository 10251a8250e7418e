"""Finding executables: the search path, the virtual environment, and PyPI packages that carry one."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def on_path(name: str) -> Path | None:
    """The executable ``name`` from ``PATH``."""
    found = shutil.which(name)
    return Path(found).resolve() if found else None


def beside_python(name: str) -> Path | None:
    """The executable ``name`` in the directory of the running interpreter, where wheels put their scripts."""
    candidate = Path(sys.executable).parent / name
    return candidate if os.access(candidate, os.X_OK) else None


def inside_package(package: str, *parts: str) -> Path | None:
    """The path ``parts`` inside an installed ``package``, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    candidate = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    return candidate if candidate.exists() else None


def version_of(executable: Path) -> tuple[int, ...]:
    """The first version number that ``executable --version`` prints, ``()`` when it prints none or fails."""
    try:
        done = subprocess.run(  # noqa: S603 - an executable found by this package
            [executable, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = _VERSION.search(done.stdout)
    return tuple(int(part) for part in found.groups() if part) if found else ()
