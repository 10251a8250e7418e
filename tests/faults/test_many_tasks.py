"""Ten thousand async queries at once: memory stays bounded, others are served, each has one result."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.probe_backend import ProbeBackend
from support.public_api import PublicApi, new_session
from support.systems import probe_document, publish
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import OneProcess

pytestmark = pytest.mark.faults

PAGE = 500


@pytest.mark.parametrize("tasks", [1_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_many_async_queries_at_once_take_bounded_memory_and_hold_up_nobody(
    tmp_path: Path, tasks: int
) -> None:
    env = {"SIGNALBOX_OLLAMA_URL": "", "SIGNALBOX_TASKS_PER_KEY": str(tasks)}
    with ProbeBackend() as backend, OneProcess(tmp_path, env=env) as system:
        api = PublicApi(system.edge_url, None)
        publish(api, probe_document(backend.url))
        process = psutil.Process(system.process.pid)
        memory = process.memory_info().rss
        most = memory

        def submit(start: int) -> str:
            items = [{"message": f"say {start + n}", "session_id": new_session()} for n in range(PAGE)]
            accepted: dict[str, Any] = api.call(
                "POST", "/api/v1/query/batch", json={"items": items}, timeout=120
            )
            batch: str = accepted["batch_id"]
            return batch

        with Traffic(system.edge_url, customers=2, kinds=("say {unique}",)) as traffic:
            traffic.wait_for(more_acknowledged=10)
            begun = time.monotonic()
            with ThreadPoolExecutor(4) as pool:
                batches = list(pool.map(submit, range(0, tasks, PAGE)))
            submitted_s = time.monotonic() - begun

            def finished() -> bool:
                nonlocal most
                most = max(most, process.memory_info().rss)
                views = [api.call("GET", f"/api/v1/batch/{batch}") for batch in batches]
                return all(view["status"] == "finished" for view in views)

            eventually(finished, "every batch is finished", 900)
            took_s = time.monotonic() - begun
            traffic.wait_for(more_acknowledged=10)
        counts = [api.call("GET", f"/api/v1/batch/{batch}")["progress"]["success"] for batch in batches]
        traffic.check().print(
            f"16 {tasks} async queries at once",
            succeeded=sum(counts),
            submitted_in_s=round(submitted_s, 1),
            done_in_s=round(took_s, 1),
            memory_grown_MiB=(most - memory) >> 20,
        )
        api.close()
        assert sum(counts) == tasks
        assert most - memory < 150 << 20
        assert traffic.failures == []
