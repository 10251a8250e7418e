"""The SDKs for Node, installed once from the lock file beside their scripts, and scripts run with them."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[1] / "gateway" / "node"
_INSTALL_S = 300
_RUN_S = 60


class NodeSdks:
    """Runs the scripts of ``tests/gateway/node``."""

    def __init__(self, modules: Path, directory: Path) -> None:
        # A script finds its modules beside itself, and the sources are to stay free of them.
        shutil.copytree(SCRIPTS, directory)
        (directory / "node_modules").symlink_to(modules)
        self._directory = directory

    def run(self, script: str, url: str, scenario: str, key: str = "local") -> dict[str, Any]:
        """What the scenario printed: ``result``, or ``error`` (the class), ``status``, ``code`` and ``type``."""
        done = subprocess.run(
            ["node", f"{script}.mjs", url, key, scenario],
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed


def installed_modules() -> Path:
    """The directory ``node_modules`` of the lock file; the first time, or after a change, npm fills it.

    It is kept in the user's cache, one directory for each lock file.
    """
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signalbox" / "node-sdks"
    directory = cache / hashlib.sha256(lock).hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    done = directory / "installed"
    with (directory / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # several test processes may come here at once
        if not done.exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SCRIPTS / name, directory)
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=directory,
                check=True,
                capture_output=True,
                timeout=_INSTALL_S,
            )
            done.touch()
    return directory / "node_modules"
