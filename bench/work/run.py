"""``make bench-work``: what a tool call and a two-tool agent turn cost over what they wait for.

Services shape, one caller, a backend that takes ``--ms`` (5) and a model that takes ``--model-ms`` (100; no model
answers sooner, and ``--model-ms 5`` shows what the services themselves take). A tool call through Tools is measured
beside the same request to the backend itself, and an agent's turn (query, skill, model, tools, model) beside the sum
of the model and tool calls that it makes, measured directly; all in turn in one loop, so that a slow moment of the
machine slows both. Ratios of medians; the target of each is 1.3 at most.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx
import yaml

from signalbox.common.auth import ServiceTokens
from signalbox.contracts.identity import Principal, Scope
from signalbox_local.ports import free_port
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import answers_http
from signalbox_local.stack import ServicesStack

HERE = Path(__file__).resolve().parent
TARGET = 1.3
_WARM_UP = 30


def timed_backend(port: int, ms: float, model_ms: float, directory: Path) -> ManagedProcess:
    """The backend and model as a process."""
    return ManagedProcess(
        "timed-backend",
        [sys.executable, str(HERE / "backend.py"), str(port), str(ms), str(model_ms)],
        log=directory / "backend.log",
        ready=answers_http(f"http://127.0.0.1:{port}/v1/models"),
    )


class Calls:
    """What is measured: each method makes one call and checks what came back."""

    def __init__(self, client: httpx.Client, backend: str, stack: ServicesStack, config_hash: str) -> None:
        self._client = client
        self._backend = backend
        self._edge = stack.edge_url
        self._tools = stack.service_urls("tools")[0]
        self._hash = config_hash
        principal = Principal(tenant="default", subject="bench", scopes=frozenset({Scope.QUERY}))
        secret = stack.environment()["SIGNALBOX_SERVICE_SECRET"]
        token = ServiceTokens(secret, "workflow").mint("tools", principal)
        self._as_service = {"authorization": f"Bearer {token}"}

    def backend_itself(self) -> None:
        """The tool's own request."""
        answer = self._client.get(f"{self._backend}/orders/1042")
        assert answer.json()["status"] == "shipped", answer.text

    def through_tools(self) -> None:
        """The same through the Tools service."""
        context = {
            "tenant": "default",
            "subject": "bench",
            "workflow_id": "work",
            "config_hash": self._hash,
            "session_id": "bench",
            "turn_id": "turn_bench",
            "now_ms": int(time.time() * 1000),
        }
        body = {
            "context": context,
            "tool": "get_order",
            "arguments": {"order_number": 1042},
            "idempotency_key": "turn_bench/1",
        }
        answer = self._client.post(
            f"{self._tools}/internal/v1/tools/call", json=body, headers=self._as_service
        )
        assert answer.json()["ok"], answer.text

    def model_itself(self) -> None:
        """One model call as the agent makes it."""
        body = {"model": "timed-model", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        answer = self._client.post(f"{self._backend}/v1/chat/completions", json=body)
        assert "tool_calls" in answer.text, answer.text

    def turn(self, how: str) -> None:
        """A turn whose agent calls two tools."""
        body = {
            "workflow_id": "work",
            "session_id": f"bench-{secrets.token_hex(8)}",
            "message": f"ask the agent, {how}",
        }
        answer = self._client.post(f"{self._edge}/api/v1/query", json=body)
        assert answer.json().get("message") == "It is shipped.", answer.text


def medians(calls: dict[str, Callable[[], None]], times: int) -> dict[str, float]:
    """Median milliseconds of each call; they are made in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(_WARM_UP + times):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number >= _WARM_UP:
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: median(values) for name, values in taken.items()}


def measure(directory: Path, ms: float, model_ms: float, times: int) -> dict[str, float]:
    """All medians of one run, in milliseconds."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
        "SIGNALBOX_VARIABLES": json.dumps({"backend_url": url}),
        "SIGNALBOX_OUTBOUND_ALLOW": json.dumps([f"127.0.0.1:{port}"]),
        "SIGNALBOX_LOG_LEVEL": "warning",
    }
    process = timed_backend(port, ms, model_ms, directory)
    process.start()
    try:
        with ServicesStack(directory / "stack", env=environment) as stack:
            document = yaml.safe_load((HERE / "workflow.yaml").read_text())
            with httpx.Client(timeout=20, trust_env=False) as client:
                published = client.post(f"{stack.edge_url}/admin/api/v1/publish", json={"document": document})
                calls = Calls(client, url, stack, published.json()["release"]["config_hash"])
                return medians(
                    {
                        "tool, directly": calls.backend_itself,
                        "tool, through Tools": calls.through_tools,
                        "model, directly": calls.model_itself,
                        "turn, tools at once": lambda: calls.turn("both at once"),
                        "turn, one at a time": lambda: calls.turn("one at a time"),
                    },
                    times,
                )
    finally:
        process.stop()


def report(found: dict[str, float]) -> None:
    """Print the medians, and the ratios with what they are held to."""
    for name, value in found.items():
        print(f"{name:<24}{value:8.2f} ms")
    model, tool = found["model, directly"], found["tool, directly"]
    ratios = {
        "a tool call / the backend itself": found["tool, through Tools"] / tool,
        "a turn, both at once / 2 models + 2 tools": found["turn, tools at once"] / (2 * model + 2 * tool),
        "a turn, one at a time / 3 models + 2 tools": found["turn, one at a time"] / (3 * model + 2 * tool),
    }
    print()
    for name, ratio in ratios.items():
        print(f"{'met' if ratio <= TARGET else 'MISSED':<8}{name:<46}<= {TARGET:g}   {ratio:.2f}")
    longest = found["turn, tools at once"] / (2 * model + tool)
    print(f"{'':<8}{'a turn, both at once / 2 models + 1 tool':<46}{'':9}{longest:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="What a tool call and an agent's turn cost over what they wait for."
    )
    parser.add_argument("--ms", type=float, default=5.0, help="of the backend (default %(default)s)")
    parser.add_argument("--model-ms", type=float, default=100.0, help="of the model (default %(default)s)")
    parser.add_argument("--times", type=int, default=200, help="calls of each kind (default %(default)s)")
    given = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"{given.times} calls of each kind, backend of {given.ms:g} ms, model of {given.model_ms:g} ms, "
        f"at {commit.stdout.strip()}"
    )
    with tempfile.TemporaryDirectory() as directory:
        report(measure(Path(directory), given.ms, given.model_ms, given.times))


if __name__ == "__main__":
    main()
