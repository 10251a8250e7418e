"""Health of processes: live, ready, metrics, the API's own description."""

import httpx
from support.public_api import PublicApi
from support.systems import RunningSystem


def bases(system: RunningSystem) -> dict[str, str]:
    """Where health is served: by each service, or once by the process that holds them."""
    return system.service_urls() or {"process": system.url}


def test_every_process_is_live_and_ready_without_a_credential(system: RunningSystem) -> None:
    for base in bases(system).values():
        assert httpx.get(f"{base}/live").json() == {"status": "live"}
        assert httpx.get(f"{base}/ready").json() == {"status": "ready"}


def test_metrics_count_requests(system: RunningSystem, client: PublicApi) -> None:
    def served() -> float:
        found = 0.0
        for url in system.workflow_urls():
            for line in httpx.get(f"{url}/metrics").text.splitlines():
                if line.startswith("signalbox_http_requests_total") and 'route="/api/v1/query"' in line:
                    found += float(line.rsplit(" ", 1)[1])
        return found

    before = served()
    client.query("hello")
    assert served() == before + 1


def test_the_description_has_every_public_path(system: RunningSystem) -> None:
    paths: set[str] = set()
    for base in bases(system).values():
        document = httpx.get(f"{base}/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        paths |= set(document["paths"])
    assert {
        "/api/v1/query",
        "/api/v1/query/stream",
        "/api/v1/turn/{turn_id}",
        "/api/v1/turn/{turn_id}/events",
        "/api/v1/turn/{turn_id}/cancel",
        "/api/v1/turn/{turn_id}/feedback",
        "/api/v1/session/{session_id}",
        "/api/v1/health",
        "/llm/v1/chat/completions",
        "/llm/v1/models",
        "/admin/api/v1/publish",
    } <= paths
    if not system.service_urls():
        assert not [path for path in paths if path.startswith("/internal")]
