"""Child processes: readiness, the whole group on stop, and complaints that carry the log."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from signalbox_local import LocalError, ManagedProcess, NotReadyError, PortTakenError, free_port
from signalbox_local.ports import require_free
from signalbox_local.readiness import accepts_tcp, answers_http

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def python(code: str, tmp_path: Path) -> ManagedProcess:
    log = tmp_path / "process.log"
    return ManagedProcess("child", [sys.executable, "-c", code], log=log, ready=lambda: bool(log.read_text()))


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_server_is_ready_when_it_answers_and_restarts_on_its_port(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    url = f"http://127.0.0.1:{port}/"
    process = ManagedProcess("web", command, log=tmp_path / "web.log", cwd=tmp_path, ready=answers_http(url))
    with process:
        first = process.pid
        assert httpx.get(url).status_code == 200
        with pytest.raises(PortTakenError, match=f"port {port} is taken, so the edge"):
            require_free(port, "the edge")
        process.kill()
        assert not accepts_tcp(port)()
        process.restart()
        assert process.pid != first
        assert httpx.get(url).status_code == 200
    assert not process.running


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_end_reaches_what_the_process_started(tmp_path: Path, how: str) -> None:
    process = python(PARENT, tmp_path).start()
    child = psutil.Process(int(process.log.read_text()))
    assert child.is_running()
    getattr(process, how)()
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def test_what_ignores_the_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    process = python(STUBBORN, tmp_path).start()
    member = psutil.Process(process.pid)
    process.stop(grace=0.2)
    assert not member.is_running()


def test_a_frozen_process_stops_and_goes_on(tmp_path: Path) -> None:
    with python(PARENT, tmp_path) as process:
        child = psutil.Process(int(process.log.read_text()))
        process.freeze()
        assert child.status() == psutil.STATUS_STOPPED
        process.thaw()
        assert child.status() != psutil.STATUS_STOPPED


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "import sys, time; from pathlib import Path; from signalbox_local import ManagedProcess\n"
        "child = ManagedProcess('child', ['sleep', '600'], log=Path(sys.argv[1])).start()\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert alive(child)
        parent.send_signal(how)
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def test_a_process_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no such table'); sys.exit(3)"]
    process = ManagedProcess("short", command, log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(NotReadyError, match=r"status 3[\s\S]*no such table"):
        process.start()


def test_a_process_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    process = ManagedProcess("idle", ["sleep", "600"], log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(NotReadyError, match=r"not ready after 0\.1 s"):
        process.start(timeout=0.1)
    assert not process.running
    with pytest.raises(LocalError, match="start it first"):
        _ = process.pid
