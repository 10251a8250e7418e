"""/live, /ready and /metrics."""

import asyncio
import time

from fastapi import APIRouter
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families
from support.apps import caller, service_app

from signalbox.common.errors import Unavailable
from signalbox.common.telemetry import Metrics, render_metrics


async def works():
    pass


async def refuses():
    raise Unavailable("PostgreSQL does not answer.")


async def breaks():
    raise KeyError


async def hangs():
    await asyncio.Event().wait()


async def get(path, **checks):
    async with caller(service_app(APIRouter(), ready_checks=checks)) as http:
        return await http.get(path)


async def test_live_asks_nobody():
    answer = await get("/live", database=hangs)
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def test_ready_when_every_dependency_works():
    assert (await get("/ready", database=works, cache=works)).json() == {"status": "ready"}


async def test_not_ready_names_each_dependency_that_fails_and_why():
    answer = await get("/ready", database=refuses, cache=works, config=breaks)
    assert answer.status_code == 503
    body = answer.json()
    assert body["code"] == "not_ready"
    assert body["detail"] == "database: PostgreSQL does not answer.; config: KeyError"


async def test_dependencies_that_hang_are_named_within_two_seconds():
    started = time.monotonic()
    answer = await get("/ready", cache=hangs, database=hangs, config=works)
    assert time.monotonic() - started < 2.8
    assert answer.status_code == 503
    assert answer.json()["detail"] == "cache: no answer within 2 s; database: no answer within 2 s"


async def test_metrics_are_an_exposition():
    answer = await get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert {family.name for family in text_string_to_metric_families(answer.text)} >= {
        "signalbox_http_requests",
        "signalbox_http_request_seconds",
    }


def test_metrics_of_several_services_join_into_one_valid_exposition():
    flows, tools = Metrics("flows"), Metrics("tools")
    flows.observe("GET", "/a", 200, 0.01)
    tools.observe("GET", "/a", 200, 0.01)
    tools.observe("GET", "/a", 500, 7)
    Gauge("signalbox_tools_open", "Only one of them has it.", registry=tools.registry).set(4)
    text = render_metrics([flows, tools]).decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert text.count("# TYPE signalbox_http_requests_total counter") == 1
    samples = {
        (sample.name, sample.labels.get("service"), sample.labels.get("status")): sample.value
        for family in families
        for sample in family.samples
        if sample.name in {"signalbox_http_requests_total", "signalbox_tools_open"}
    }
    assert samples == {
        ("signalbox_http_requests_total", "flows", "200"): 1,
        ("signalbox_http_requests_total", "tools", "200"): 1,
        ("signalbox_http_requests_total", "tools", "500"): 1,
        ("signalbox_tools_open", None, None): 4,
    }
    [histogram] = [family for family in families if family.name == "signalbox_http_request_seconds"]
    counts = [sample for sample in histogram.samples if sample.name.endswith("_count")]
    assert {sample.labels["service"]: sample.value for sample in counts} == {"flows": 1, "tools": 2}
