"""The gateway's bench runs, its two forms of tools agree on what is right, and the ledger has what was answered."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the bench needs two cores")


def _bench(tmp_path: Path, tools: str, loads: str) -> dict[str, Any]:
    if tools == "native" and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, str(_ROOT / "bench" / "gateway" / "run.py")),
            *("--only", "signalbox", "--seconds", "0.5", "--loads", loads, "--json", str(file)),
        ],
        env={**os.environ, "BENCH_TOOLS": tools, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(file.read_text())
    return told


@pytest.mark.parametrize("tools", ["native", "python"])
def test_every_answered_call_is_right_and_in_the_ledger(tmp_path: Path, tools: str) -> None:
    told = _bench(tmp_path, tools, "plain, 0 ms, 16;streamed, 20 chunks")

    for name in ("direct", "signalbox"):
        assert set(told[name]["loads"]) == {
            "plain, 0 ms, 16 connections",
            "streamed, 20 chunks, 16 connections",
        }
        for figure in told[name]["loads"].values():
            assert figure["count"] > 0
            assert figure["errors"] == 0, figure["first_error"]
            assert 0 < figure["first_p50_ms"] <= figure["p50_ms"] <= figure["p99_ms"]
    assert not [sentence for sentence in told["signalbox"]["complaints"] if "ledger" in sentence]
