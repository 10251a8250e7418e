"""Each distribution works with what it declares: nothing else can be imported while its app is created."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from gates.markdown import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SERVICES = ("admin", "flows", "llm_gateway", "skills", "standalone", "tools", "workflow")
_PROBE = ROOT / "tests" / "gates" / "closure_probe.py"
_SITE = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def closure_of(name: str) -> dict[str, Distribution]:
    """A distribution and all that it requires, extras included, from the metadata of what is installed."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    pending = [(name, "")]
    while pending:
        current, extra = pending.pop()
        if (current, extra) in seen:
            continue
        seen.add((current, extra))
        found[current] = distribution(current)
        for text in found[current].requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                pending += [(canonicalize_name(needed.name), each) for each in ("", *needed.extras)]
    return found


def source_of(installed: Distribution) -> Path | None:
    """The source directory of a distribution that is installed in place."""
    url = json.loads(installed.read_text("direct_url.json") or "{}").get("url", "")
    return Path(unquote(urlsplit(url).path)) / "src" if url.startswith("file:") else None


def probe(closure: dict[str, Distribution], data: Path, *modules: str, factory: str | None) -> Any:
    """Run the probe with a closure; the finished process."""
    files = [
        os.path.realpath(installed.locate_file(file))
        for installed in closure.values()
        for file in installed.files or []
        if file.suffix in {".py", ".so", ".pyd"}
    ]
    sources = [source for installed in closure.values() if (source := source_of(installed)) is not None]
    given = {
        "site": [os.path.realpath(each) for each in _SITE],
        "files": files,
        "sources": [os.path.realpath(each) for each in sources],
        "workspace": os.path.realpath(ROOT),
        "modules": modules,
        "factory": factory,
    }
    return subprocess.run(
        [sys.executable, str(_PROBE)],
        input=json.dumps(given),
        env={"PATH": os.environ["PATH"], "SIGNALBOX_DATA": str(data)},
        cwd=data,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_created_with_its_closure_alone(service: str, tmp_path: Path) -> None:
    closure = closure_of(f"signalbox-{service.replace('_', '-')}")
    commands = f"signalbox.{service}.cli"
    done = probe(closure, tmp_path, commands, "signalbox.common.cli", factory=f"signalbox.{service}.app")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["OneProcess" if service == "standalone" else "DirectApp"]


@pytest.mark.parametrize(
    ("service", "module"),
    [
        ("flows", "sqlalchemy"),
        ("flows", "signalbox.workflow.app"),
        ("tools", "litellm"),
        ("workflow", "signalbox.standalone.app"),
        ("workflow", "litellm"),
        ("llm_gateway", "pytest"),
    ],
)
def test_what_is_outside_of_a_closure_cannot_be_imported(service: str, module: str, tmp_path: Path) -> None:
    done = probe(closure_of(f"signalbox-{service.replace('_', '-')}"), tmp_path, module, factory=None)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_contracts_are_imported_with_pydantic_alone(tmp_path: Path) -> None:
    closure = closure_of("signalbox-contracts")
    assert "fastapi" not in closure
    names = [path.stem for path in (ROOT / "libs/contracts/src/signalbox/contracts").glob("[a-z]*.py")]
    done = probe(closure, tmp_path, *(f"signalbox.contracts.{name}" for name in names), factory=None)
    assert done.returncode == 0, done.stderr


@pytest.mark.faults  # installs a second environment, which takes a while on a cold disk
def test_uv_installs_one_service_and_its_closure_only(tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    command = [uv, "sync", "--frozen", "--no-dev", "--offline", "--package", "signalbox-flows"]
    synced = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert synced.returncode == 0, synced.stderr
    code = (
        "from importlib.metadata import distributions\n"
        "from signalbox.flows.app import create_app\n"
        "create_app()\n"
        "print(*sorted(each.name for each in distributions() if each.name.startswith('signalbox')))"
    )
    created = subprocess.run(
        [tmp_path / "venv/bin/python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert created.returncode == 0, created.stderr
    assert created.stdout.split() == ["signalbox-common", "signalbox-contracts", "signalbox-flows"]
