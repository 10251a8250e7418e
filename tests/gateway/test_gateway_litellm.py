"""litellm: imported at the first call that needs it, silent about us, and wired as the other providers are."""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_litellm_serves_other_providers_and_is_imported_only_then():
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    probe = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("litellm_probe.py"))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert probe.returncode == 0, probe.stderr
    found = json.loads(probe.stdout.splitlines()[-1])
    assert found["imported_early"] is False
    assert found["imported_late"] is True
    assert found["outside"] == []
    assert found["whole"] == ["other", "echo: hello gateway"]
    assert found["streamed"] == "echo: hello gateway"
    assert "slow down" in found["refused_False"]
    assert "slow down" in found["refused_True"]
    assert found["timed_out"] == 504
    served = ["other", "hosted_vllm/fake-model", 5, 14_000_000, "ok", 0]
    assert found["rows"][1:3] == [served, served]
    assert [row[4] for row in found["rows"][3:]] == ["error", "error", "timeout"]
