"""Many published workflows in one process: its memory, and what the first question to one that is not loaded costs.

``python bench/snapshots.py --workflows 1000 --publishes 20`` is the full scale: 20,000 publishes of about a second
each, which is hours; the default takes minutes. Workflows of 200 KB: 120 intents with rules, each with a flow.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from signalbox_local import OneProcess

_INTENTS = 120
_MIB = 1024 * 1024


def document(number: int, version: int) -> dict[str, Any]:
    """A workflow of about 200 KB; each version of each is another one."""
    topics = [f"topic{index}of{number}" for index in range(_INTENTS)]
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


def publish(client: httpx.Client, number: int, version: int) -> None:
    """Publish one version of one workflow. Raises AssertionError where it is refused."""
    answer = client.post("/admin/api/v1/publish", json={"document": document(number, version)})
    assert answer.status_code < 400, answer.text


def first_answer(client: httpx.Client, number: int) -> float:
    """Seconds that the first question to a workflow takes. Raises AssertionError for a wrong answer."""
    body = {"workflow_id": f"w{number}", "session_id": f"cold-{number}-{time.time_ns()}"}
    started = time.perf_counter()
    answer = client.post("/api/v1/query", json={**body, "message": f"topic3of{number} 7000"})
    took = time.perf_counter() - started
    answer.raise_for_status()
    assert answer.json()["message"] == "High: 7000.", answer.text
    return took


def memory(system: OneProcess) -> float:
    """MiB of the serving process."""
    return psutil.Process(system.process.pid).memory_info().rss / _MIB


def measure(workflows: int, publishes: int, cache_mib: int, asked: int) -> dict[str, float]:
    """All figures of one run; memory in MiB, times in milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        env = {"SIGNALBOX_SNAPSHOT_CACHE_BYTES": str(cache_mib * _MIB), "SIGNALBOX_OLLAMA_URL": ""}
        system = OneProcess(Path(directory), env=env)
        try:
            system.start(120)
            empty = memory(system)
            with httpx.Client(base_url=system.edge_url, timeout=300, trust_env=False) as client:
                started = time.perf_counter()
                for version in range(publishes):
                    for number in range(workflows):
                        publish(client, number, version)
                published = time.perf_counter() - started
                after = memory(system)
                system.restart(600)
                restarted = memory(system)
                numbers = random.Random(7).sample(range(workflows), min(asked, workflows))
                times = sorted(first_answer(client, number) for number in numbers)
                everything = [first_answer(client, number) for number in range(workflows)]
                return {
                    "empty_mib": empty,
                    "published_mib": after,
                    "restarted_mib": restarted,
                    "asked_mib": memory(system),
                    "publish_ms": 1000 * published / (workflows * publishes),
                    "first_p50_ms": 1000 * times[len(times) // 2],
                    "first_max_ms": 1000 * max(*times, *everything),
                }
        finally:
            system.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=40)
    parser.add_argument("--publishes", type=int, default=2)
    parser.add_argument("--cache-mib", type=int, default=32, help="SIGNALBOX_SNAPSHOT_CACHE_BYTES, in MiB")
    parser.add_argument("--asked", type=int, default=30)
    given = parser.parse_args()
    size = len(str(document(0, 0)))
    print(f"{given.workflows} workflows of {size / 1000:.0f} kB, {given.publishes} publishes each")
    print(f"cache of {given.cache_mib} MiB in each of four services")
    for name, figure in measure(given.workflows, given.publishes, given.cache_mib, given.asked).items():
        print(f"{name:>16} {figure:8.0f}")


if __name__ == "__main__":
    main()
