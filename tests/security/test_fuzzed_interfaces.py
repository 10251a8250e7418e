"""Scenario 29: every described operation, fuzzed from its description: no 5xx, no answer that is not described.

schemathesis reads the ``openapi.json`` of a running system and sends what it allows and what it does not. The public
operations are asked as an operator of a tenant of their own; calls between services with a service token. One process
has one document; of services each has its own, and is asked past the edge: Traefik answers some paths itself (a
backslash, a NUL), with a 400 that no description of ours can have.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from support.systems import TENANTS, RunningSystem

from signalbox.common.auth import hs256
from signalbox.contracts.identity import Scope

CONFIG = Path(__file__).with_name("schemathesis.toml")
FUZZED = TENANTS[2]
KEYS_PATH = "/admin/api/v1/keys/{key_id}"
"""Deleted alone: schemathesis takes ids from lists, and would revoke the key that it asks with."""

LENIENT = ("--exclude-checks", "negative_data_rejection")
"""Services read what the next version of another sends: fields that they do not know, a number where they had none."""

GENERATED = re.compile(r"(\d+) generated")
SHORT_S, FULL_S = 25, 600


class Target(NamedTuple):
    """A description to fuzz, and who asks."""

    name: str
    document: str
    base: str
    credential: str
    chosen: tuple[str, ...]
    public: bool


def targets(system: RunningSystem) -> Iterator[Target]:
    """One for the public operations of each document, and one for the calls between services of each."""
    key = system.operators[FUZZED]
    public = (
        "--exclude-path-regex",
        "^/internal/|^/(live|ready|metrics)$",
        "--exclude-name",
        f"DELETE {KEYS_PATH}",
    )
    bases = system.service_urls() or {"process": system.url}
    for service, base in bases.items():
        paths = httpx.get(f"{base}/openapi.json", timeout=20).json()["paths"]
        if any(not path.startswith("/internal/") and path.count("/") > 1 for path in paths):
            yield Target(f"{service}, public", f"{base}/openapi.json", base, key, public, public=True)
        if any(path.startswith("/internal/") for path in paths):
            token = service_token(system, service)
            chosen = ("--include-path-regex", "^/(internal/|live$|ready$|metrics$)", *LENIENT)
            yield Target(f"{service}, internal", f"{base}/openapi.json", base, token, chosen, public=False)


def service_token(system: RunningSystem, audience: str) -> str:
    """A token that holds longer than those of the services do."""
    now = int(time.time())
    claims = {
        "iss": "workflow",
        "aud": audience,
        "sub": "key:fuzzer",
        "ten": FUZZED,
        "scp": sorted(scope.value for scope in Scope),
        "wfs": None,
        "iat": now,
        "exp": now + 2 * FULL_S,
    }
    return hs256.sign(claims, system.service_secret())


def fuzz(target: Target, seconds: float, directory: Path) -> tuple[int, str]:
    """Requests that were made, and what was found wrong."""
    headers = (f"Authorization: Bearer {target.credential}", f"X-API-Key: {target.credential}")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", target.document, "--url", target.base, *target.chosen),
            *(part for header in headers for part in ("--header", header)),
            *("--max-time", str(max(1, int(seconds))), "--request-timeout", "30", "--no-color"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    made = GENERATED.search(ended.stdout)
    requests = int(made.group(1)) if made else 0
    return requests, "" if ended.returncode == 0 else ended.stdout[-20_000:] + ended.stderr[-4_000:]


def fuzz_for_a_while(target: Target, seconds: float, directory: Path) -> tuple[int, str]:
    """The same, with more time where a busy machine has left none to ask anything."""
    for times in (1, 2, 4):
        requests, wrong = fuzz(target, times * seconds, directory)
        if requests or wrong:
            return requests, wrong
    return 0, "nothing was asked"


def fuzz_all(system: RunningSystem, found: list[Target], seconds: float, directory: Path) -> None:
    """Fuzz targets, each for its share of the time, two at once, and say how much was asked."""
    share = seconds * min(2, len(found)) / len(found)
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda target: fuzz_for_a_while(target, share, directory), found))
    for target, (requests, _) in zip(found, results, strict=True):
        print(f"29 {system.shape}: {target.name}: {requests} requests in {share:.0f} s")
    problems = [f"{target.name}\n{wrong}" for target, (_, wrong) in zip(found, results, strict=True) if wrong]
    assert not problems, "\n\n".join(problems)


def test_fuzzing_finds_no_server_error_and_no_undescribed_answer(
    system: RunningSystem, tmp_path: Path
) -> None:
    assert system.local
    # The public operations are the same code in both shapes: the short form asks them in one of the two.
    short = [target for target in targets(system) if not (target.public and system.service_urls())]
    fuzz_all(system, short, SHORT_S, tmp_path)


@pytest.mark.soak
def test_ten_minutes_of_fuzzing_find_nothing(system: RunningSystem, tmp_path: Path) -> None:
    assert system.local
    fuzz_all(system, list(targets(system)), FULL_S, tmp_path)
