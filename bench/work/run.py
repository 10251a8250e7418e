"""``make bench-work``: what a tool call and a two-tool agent turn cost over what they wait for.

Services shape, one caller, a backend that takes ``--ms`` (5) and a model that takes ``--model-ms`` (100; no model
answers sooner, and ``--model-ms 5`` shows what the services themselves take). A tool call through Tools is measured
beside the same request to the backend itself, and an agent's turn (query, skill, model, tools, model) beside the sum
of the model and tool calls that it makes, measured directly; all in turn in one loop, so that a slow moment of the
machine slows both. Ratios of medians; the target of each is 1.3 at most. Then what a call costs each process in
processor time, user and system: other work on the machine changes that less.

``--beside DIRECTORY`` measures the services of another checkout too, call by call in turn with these.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
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
_ROUNDS = 4


def timed_backend(port: int, ms: float, model_ms: float, directory: Path) -> ManagedProcess:
    """The backend and model as a process."""
    return ManagedProcess(
        "timed-backend",
        [sys.executable, str(HERE / "backend.py"), str(port), str(ms), str(model_ms)],
        log=directory / "backend.log",
        ready=answers_http(f"http://127.0.0.1:{port}/v1/models"),
    )


class Direct:
    """What the services wait for: each method makes one call and checks what came back."""

    def __init__(self, client: httpx.Client, backend: str) -> None:
        self._client = client
        self._backend = backend

    def tool(self) -> None:
        """The tool's own request."""
        answer = self._client.get(f"{self._backend}/orders/1042")
        assert answer.json()["status"] == "shipped", answer.text

    def model(self) -> None:
        """One model call as the agent makes it."""
        body = {"model": "timed-model", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        answer = self._client.post(f"{self._backend}/v1/chat/completions", json=body)
        assert "tool_calls" in answer.text, answer.text


class Calls:
    """What is measured: each method makes one call and checks what came back."""

    def __init__(self, client: httpx.Client, stack: ServicesStack, config_hash: str) -> None:
        self._client = client
        self._edge = stack.edge_url
        self._tools = stack.service_urls("tools")[0]
        self._hash = config_hash
        self._principal = Principal(tenant="default", subject="bench", scopes=frozenset({Scope.QUERY}))
        self._tokens = ServiceTokens(stack.environment()["SIGNALBOX_SERVICE_SECRET"], "workflow")

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
        headers = {"authorization": f"Bearer {self._tokens.mint('tools', self._principal)}"}
        answer = self._client.post(f"{self._tools}/internal/v1/tools/call", json=body, headers=headers)
        assert answer.json()["ok"], answer.text

    def turn(self, how: str) -> None:
        """A turn whose agent calls two tools."""
        body = {
            "workflow_id": "work",
            "session_id": f"bench-{secrets.token_hex(8)}",
            "message": f"ask the agent, {how}",
        }
        answer = self._client.post(f"{self._edge}/api/v1/query", json=body)
        assert answer.json().get("message") == "It is shipped.", answer.text


class Side:
    """The services of one checkout, running, with the calls that measure them."""

    def __init__(self, name: str, stack: ServicesStack, calls: Calls) -> None:
        self.name = name
        self._stack = stack
        self.through_services: dict[str, Callable[[], None]] = {
            f"tool, through Tools{name}": calls.through_tools,
            f"turn, tools at once{name}": lambda: calls.turn("both at once"),
            f"turn, one at a time{name}": lambda: calls.turn("one at a time"),
        }

    def processor_ms(self) -> Counter[str]:
        """Milliseconds that each process has used so far, with its children."""
        return Counter(
            {name: _processor_ms(process.pid) for name, process in self._stack.processes().items()}
        )


def _processor_ms(pid: int) -> float:
    """Milliseconds that the threads of a process and of its children have run; 0 for one that has ended.

    From the scheduler's own count, which is in nanoseconds where that of proc(5) is in hundredths of a second.
    """
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(counted.split()[0]) for counted in threads) / 1e6
    return own + sum(_processor_ms(int(child)) for child in children)


def medians(calls: Mapping[str, Callable[[], None]], times: int) -> dict[str, float]:
    """Median milliseconds of each call; they are made in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(_WARM_UP + times):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number >= _WARM_UP:
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: median(values) for name, values in taken.items()}


def processor_time(sides: list[Side], times: int) -> dict[str, Counter[str]]:
    """Milliseconds of processor time that one of each call takes, by process; in rounds, the sides in turn."""
    used: dict[str, Counter[str]] = {name: Counter() for side in sides for name in side.through_services}
    for _ in range(_ROUNDS):
        for names in zip(*(side.through_services for side in sides), strict=True):
            for side, name in zip(sides, names, strict=True):
                before = side.processor_ms()
                for _ in range(times // _ROUNDS):
                    side.through_services[name]()
                used[name].update(side.processor_ms() - before)
    made = times // _ROUNDS * _ROUNDS
    return {
        name: Counter({part: spent / made for part, spent in parts.items()}) for name, parts in used.items()
    }


Found = tuple[dict[str, float], dict[str, Counter[str]]]
"""Medians, and processor time by call and process, in milliseconds."""


def measure(directory: Path, ms: float, model_ms: float, times: int, beside: Path | None) -> Found:
    """One run, of these services and of those of another checkout."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = timed_backend(port, ms, model_ms, directory)
    process.start()
    try:
        with ExitStack() as running:
            client = running.enter_context(httpx.Client(timeout=20, trust_env=False))
            sides = [_side("", running, directory / "here", url, client, {})]
            if beside is not None:
                sources = [*beside.glob("libs/*/src"), *beside.glob("services/*/src")]
                there = {"PYTHONPATH": ":".join(map(str, sources))}
                sides.append(_side(" (beside)", running, directory / "beside", url, client, there))
            direct = Direct(client, url)
            calls = {"tool, directly": direct.tool, "model, directly": direct.model}
            for side in sides:
                calls |= side.through_services
            return medians(calls, times), processor_time(sides, times)
    finally:
        process.stop()


def _side(
    name: str, running: ExitStack, directory: Path, url: str, client: httpx.Client, more: dict[str, str]
) -> Side:
    environment = {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
        "SIGNALBOX_VARIABLES": json.dumps({"backend_url": url}),
        "SIGNALBOX_OUTBOUND_ALLOW": json.dumps([url.removeprefix("http://")]),
        "SIGNALBOX_LOG_LEVEL": "warning",
        **more,
    }
    stack = running.enter_context(ServicesStack(directory, env=environment))
    document = yaml.safe_load((HERE / "workflow.yaml").read_text())
    published = client.post(f"{stack.edge_url}/admin/api/v1/publish", json={"document": document})
    return Side(name, stack, Calls(client, stack, published.json()["release"]["config_hash"]))


def report(found: dict[str, float], used: dict[str, Counter[str]]) -> None:
    """Print the medians, the ratios with what they are held to, and who used the processor."""
    for name, value in found.items():
        print(f"{name:<32}{value:8.2f} ms")
    model, tool = found["model, directly"], found["tool, directly"]
    waits = {
        "tool, through Tools": ("the backend itself", tool),
        "turn, tools at once": ("2 models + 2 tools", 2 * model + 2 * tool),
        "turn, one at a time": ("3 models + 2 tools", 3 * model + 2 * tool),
    }
    print()
    for name in used:
        what, wait = next((what, wait) for call, (what, wait) in waits.items() if name.startswith(call))
        ratio = found[name] / wait
        print(
            f"{'met' if ratio <= TARGET else 'MISSED':<8}{name + ' / ' + what:<56}<= {TARGET:g}   {ratio:.2f}"
        )
    longest = found["turn, tools at once"] / (2 * model + tool)
    print(f"{'':<8}{'turn, tools at once / 2 models + 1 tool':<56}{'':9}{longest:.2f}")
    print("\nms of processor time per call")
    for name, parts in used.items():
        shown = ", ".join(f"{part.removesuffix('-0')} {spent:.2f}" for part, spent in parts.most_common(8))
        print(f"{name:<32}{parts.total():8.2f}  {shown}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="What a tool call and an agent's turn cost over what they wait for."
    )
    parser.add_argument("--ms", type=float, default=5.0, help="of the backend (default %(default)s)")
    parser.add_argument("--model-ms", type=float, default=100.0, help="of the model (default %(default)s)")
    parser.add_argument("--times", type=int, default=200, help="calls of each kind (default %(default)s)")
    parser.add_argument("--beside", type=Path, help="another checkout, whose services are measured too")
    given = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"{given.times} calls of each kind, backend of {given.ms:g} ms, model of {given.model_ms:g} ms, "
        f"at {commit.stdout.strip()}"
    )
    with tempfile.TemporaryDirectory() as directory:
        report(*measure(Path(directory), given.ms, given.model_ms, given.times, given.beside))


if __name__ == "__main__":
    main()
