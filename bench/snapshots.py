"""Many published workflows in one process: its memory, and what the first question to one that is not loaded costs.

``python bench/snapshots.py --workflows 1000 --publishes 20 --rule-sets 50`` is the full scale. Workflows of 200 KB: 120
intents with rules, each with a flow. Every publish is a request to Admin's API with another document, checked, hashed,
stored, built, loaded by every service and activated. A publish changes texts and no rule, as most do, so what was built
of the rules is used again, by their hash; the first one compiles them. With ``--rule-sets N`` workflows have N
different sets of rules among them, as the branches of a chain do; by default each has its own, and the first publish of
each takes seconds.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from signalbox_local import OneProcess

_INTENTS = 120
_MIB = 1024 * 1024
_AT_ONCE = 4
_PART = 10
"""The first and the last tenth of the publishes are compared: what grows with their number shows there."""


def document(number: int, version: int, rule_set: int | None = None) -> dict[str, Any]:
    """A workflow of about 200 KB; each version of each is another one, with the rules of ``rule_set``."""
    topics = [f"topic{index}of{number if rule_set is None else rule_set}" for index in range(_INTENTS)]
    steps = [
        {"type": "ask", "slot": "number"},
        {"type": "branch", "cases": [{"when": "slots.number > 5000", "next": "high"}]},
        {
            "type": "reply",
            "text": {"en": "Low: {{ slots.number }}.", "zh": "低：{{ slots.number }}。"},
            "next": "done",
        },
        {
            "id": "high",
            "type": "reply",
            "text": {"en": "High: {{ slots.number }}.", "zh": "高：{{ slots.number }}。"},
        },
        {"id": "done", "type": "end"},
    ]
    slot = {
        "id": "number",
        "type": "integer",
        "prompt": {"en": "Which number is it, please?", "zh": "请问号码是多少？"},
        "validation": {
            "json_schema": {"type": "integer", "minimum": 1},
            "message": "That is no number of ours.",
        },
    }
    return {
        "schema_version": "1",
        "workflow_id": f"w{number}",
        "name": f"Workflow {number}",
        "description": f"Version {version}",
        "languages": ["en", "zh"],
        "intents": [
            {
                "id": topic,
                "description": f"The user asks about {topic}, which is one of many things to ask about here.",
                "when": {
                    "patterns": [rf"\b{topic}\b\D*(?P<number>\d{{1,6}})?"],
                    "keywords": [f"about {topic}"],
                },
                "then": {"flow": topic},
                "parameters": {"number": {"type": "integer"}},
            }
            for topic in topics
        ],
        "flows": [
            {
                "id": topic,
                "description": f"Says {topic}. " + "It has a long story. " * 32,
                "slots": [slot],
                "steps": steps,
            }
            for topic in topics
        ],
    }


class Scene:
    """The running process, and what its workflows are."""

    def __init__(self, system: OneProcess, client: httpx.Client, rule_sets: int) -> None:
        self.system = system
        self._client = client
        self._rule_sets = rule_sets

    def publish(self, number: int, version: int) -> float:
        """Publish one version of one workflow; seconds. Raises AssertionError where it is refused."""
        body = {"document": document(number, version, number % self._rule_sets)}
        started = time.perf_counter()
        answer = self._client.post("/admin/api/v1/publish", json=body)
        assert answer.status_code < 400, answer.text
        assert answer.json()["release"]["number"] == version + 1, answer.text
        return time.perf_counter() - started

    def first_answer(self, number: int) -> float:
        """Seconds that the first question to a workflow takes. Raises AssertionError for a wrong answer."""
        body = {"workflow_id": f"w{number}", "session_id": f"cold-{number}-{time.time_ns()}"}
        message = f"topic3of{number % self._rule_sets} 7000"
        started = time.perf_counter()
        answer = self._client.post("/api/v1/query", json={**body, "message": message})
        took = time.perf_counter() - started
        answer.raise_for_status()
        assert answer.json()["message"] == "High: 7000.", answer.text
        return took

    def memory(self) -> float:
        """MiB of the serving process."""
        return psutil.Process(self.system.process.pid).memory_info().rss / _MIB

    def cpu(self) -> float:
        """CPU seconds of the serving process, and of the compilers that it has waited for."""
        return sum(psutil.Process(self.system.process.pid).cpu_times()[:4])

    def stored(self) -> float:
        """MiB of Admin's database."""
        return sum(path.stat().st_size for path in self.system.directory.rglob("admin.db*")) / _MIB


def publish_all(
    scene: Scene, workflows: int, publishes: int, tell: Callable[[str], None]
) -> dict[str, float]:
    """Publish every version of every workflow, several at once; times in milliseconds."""
    took: list[float] = []
    started, cpu = time.perf_counter(), scene.cpu()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for version in range(publishes):
            took += pool.map(partial(scene.publish, version=version), range(workflows))
            tell(
                f"{len(took)} publishes after {time.perf_counter() - started:.0f} s, {scene.memory():.0f} MiB"
            )
    later = took[workflows:] or took
    part = max(1, len(later) // _PART)
    return {
        "publish_s": time.perf_counter() - started,
        "publish_cpu_ms": 1000 * (scene.cpu() - cpu) / len(took),
        "first_publishes_ms": 1000 * sum(took[:workflows]) / workflows,
        "later_at_first_ms": 1000 * sum(later[:part]) / part,
        "later_at_last_ms": 1000 * sum(later[-part:]) / part,
    }


def measure(given: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, float]:
    """All figures of one run; memory in MiB, times in milliseconds."""
    workflows: int = given.workflows
    with tempfile.TemporaryDirectory() as directory:
        env = {"SIGNALBOX_SNAPSHOT_CACHE_BYTES": str(given.cache_mib * _MIB), "SIGNALBOX_OLLAMA_URL": ""}
        system = OneProcess(Path(directory), env=env)
        try:
            system.start(120)
            with httpx.Client(base_url=system.edge_url, timeout=300, trust_env=False) as client:
                scene = Scene(system, client, given.rule_sets or workflows)
                figures = {"empty_mib": scene.memory()}
                figures |= publish_all(scene, workflows, given.publishes, tell)
                figures |= {"published_mib": scene.memory(), "database_mib": scene.stored()}
                began = time.perf_counter()
                system.restart(600)
                figures |= {
                    "restart_ms": 1000 * (time.perf_counter() - began),
                    "restarted_mib": scene.memory(),
                }
                numbers = random.Random(7).sample(range(workflows), min(given.asked, workflows))
                times = sorted(map(scene.first_answer, numbers))
                return figures | {
                    "first_p50_ms": 1000 * times[len(times) // 2],
                    "first_p99_ms": 1000 * times[int(len(times) * 0.99)],
                    "first_max_ms": 1000 * times[-1],
                    "asked_mib": scene.memory(),
                }
        finally:
            system.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=40)
    parser.add_argument("--publishes", type=int, default=2)
    parser.add_argument("--rule-sets", type=int, default=0, help="different sets of rules; 0: each its own")
    parser.add_argument("--cache-mib", type=int, default=32, help="SIGNALBOX_SNAPSHOT_CACHE_BYTES, in MiB")
    parser.add_argument("--asked", type=int, default=200)
    given = parser.parse_args()
    size = len(str(document(0, 0)))
    print(
        f"{given.workflows} workflows of {size / 1000:.0f} kB, {given.publishes} publishes each, {_AT_ONCE} at once"
    )
    print(f"cache of {given.cache_mib} MiB in each of four services")
    for name, figure in measure(given, lambda line: print(line, file=sys.stderr, flush=True)).items():
        print(f"{name:>18} {figure:8.0f}")


if __name__ == "__main__":
    main()
