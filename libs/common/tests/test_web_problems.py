"""Every error is an RFC 9457 problem."""

import json
import logging
from typing import Annotated

import pytest
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import StreamingResponse
from support.apps import caller, service_app

from signalbox.common.errors import RateLimited, Unavailable
from signalbox.contracts.base import PublicRequest
from signalbox.contracts.problem import Problem

router = APIRouter()
LIMIT = 2048


class Item(PublicRequest):
    label: str = Field(min_length=1, max_length=5)


class Order(PublicRequest):
    customer: str = Field(max_length=10_000)
    items: list[Item] = []


@router.post("/orders")
async def orders(order: Order) -> Order:
    return order


@router.get("/page")
async def page(limit: Annotated[int, Query(ge=1)] = 1) -> int:
    return limit


@router.get("/broken")
async def broken() -> None:
    raise ValueError("the password is hunter2")


@router.get("/limited")
async def limited() -> None:
    raise RateLimited("Come back in 7 s.", headers={"Retry-After": "7"}, pointer="/key")


@router.get("/down")
async def down() -> None:
    raise Unavailable("The store is down.")


@router.get("/breaks-off")
async def breaks_off() -> StreamingResponse:
    async def chunks():
        yield b"some"
        raise ValueError("too late for a status")

    return StreamingResponse(chunks())


@pytest.fixture
def app():
    return service_app(router, max_body_bytes=LIMIT)


async def ask(app, method, path, **kwargs):
    async with caller(app) as http:
        answer = await http.request(method, path, **kwargs)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    problem = Problem.model_validate(body)
    assert problem.status == answer.status_code
    assert problem.instance == path.partition("?")[0]
    assert problem.request_id == answer.headers["x-request-id"]
    assert len(problem.trace_id) == 32
    return answer, body


def pointers(body):
    return {(error["pointer"], error["code"]) for error in body["errors"]}


@pytest.mark.parametrize("text", ['{"customer": ', "{'customer': 1}", "nonsense"])
async def test_malformed_json(app, text):
    headers = {"content-type": "application/json"}
    answer, body = await ask(app, "POST", "/orders", content=text, headers=headers)
    assert (answer.status_code, body["code"]) == (400, "malformed_json")
    assert "character" in body["detail"]


async def test_a_body_that_is_not_text(app):
    headers = {"content-type": "application/json"}
    answer, _ = await ask(app, "POST", "/orders", content=b'{"customer": "\xff"}', headers=headers)
    assert answer.status_code == 400


async def test_all_wrong_values_at_once_each_with_its_pointer(app):
    order = {"items": [{"label": "fine"}, {"label": "far too long", "a/b~c": 1}], "extra": True}
    answer, body = await ask(app, "POST", "/orders", json=order)
    assert (answer.status_code, body["code"]) == (422, "validation_failed")
    assert pointers(body) == {
        ("/customer", "missing_field"),
        ("/items/1/label", "too_long"),
        ("/items/1/a~1b~0c", "unknown_field"),
        ("/extra", "unknown_field"),
    }


async def test_half_a_surrogate_pair_is_a_problem_and_not_a_crash(app):
    headers = {"content-type": "application/json"}
    for text in ('{"customer": "\\ud800"}', '{"customer": "x", "\\ud800": 1}'):
        answer, _ = await ask(app, "POST", "/orders", content=text, headers=headers)
        assert answer.status_code in {400, 422}


async def test_a_wrong_parameter_is_named(app):
    answer, body = await ask(app, "GET", "/page?limit=0")
    assert answer.status_code == 422
    assert pointers(body) == {("/limit", "bad_value")}
    assert "query parameter" in body["errors"][0]["detail"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read(app):
    sent = []

    async def content():
        sent.append(1)
        yield b"x" * LIMIT

    headers = {"content-type": "application/json", "content-length": str(LIMIT + 1)}
    answer, body = await ask(app, "POST", "/orders", content=content(), headers=headers)
    assert (answer.status_code, body["code"]) == (413, "payload_too_large")
    assert str(LIMIT) in body["detail"]


async def test_a_chunked_body_over_the_limit_is_refused_when_it_has_grown_too_large():
    reached = []
    inner = APIRouter()

    @inner.post("/orders")
    async def never(order: Order) -> None:
        reached.append(order)

    async def content():
        yield b'{"customer": "'
        for _ in range(10):
            yield b"x" * 1024
        yield b'"}'

    app = service_app(inner, max_body_bytes=LIMIT)
    headers = {"content-type": "application/json"}
    answer, body = await ask(app, "POST", "/orders", content=content(), headers=headers)
    assert (answer.status_code, body["code"]) == (413, "payload_too_large")
    assert reached == []


async def test_a_body_at_the_limit_is_read(app):
    text = json.dumps({"customer": ""})
    text = json.dumps({"customer": "x" * (LIMIT - len(text))})
    async with caller(app) as http:
        answer = await http.post("/orders", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize("length", ["-1", "²", "9" * 5000, "1e9"])
async def test_a_nonsensical_length_does_not_break_the_limit(app, length):
    headers = {"content-type": "application/json", "content-length": length.encode()}
    async with caller(app) as http:
        answer = await http.post("/orders", content=b'{"customer": "x"}', headers=headers)
    assert answer.status_code == 200


async def test_no_such_path(app):
    answer, body = await ask(app, "GET", "/nowhere")
    assert (answer.status_code, body["code"]) == (404, "not_found")
    assert "/nowhere" in body["detail"]


async def test_a_method_that_is_not_allowed_names_those_that_are(app):
    answer, body = await ask(app, "PUT", "/orders")
    assert (answer.status_code, body["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert "POST" in body["detail"]


async def test_a_bug_is_a_500_without_internals_logged_once(app, caplog):
    with caplog.at_level(logging.DEBUG):
        answer, body = await ask(app, "GET", "/broken")
    assert (answer.status_code, body["code"]) == (500, "internal_error")
    assert "hunter2" not in answer.text
    assert "ValueError" not in answer.text
    [record] = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert record.exc_info[1].args == ("the password is hunter2",)


async def test_an_answer_that_breaks_off_is_cut_and_not_ended_as_if_whole(app, caplog):
    messages = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        messages.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "method": "GET", "path": "/breaks-off", "raw_path": b"/breaks-off", "query_string": b"",
        "root_path": "", "scheme": "http", "headers": [], "client": None, "server": ("service", 80),
    }  # fmt: skip
    with pytest.raises(ValueError, match="too late"):
        await app(scope, receive, send)
    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]
    assert messages[-1]["more_body"] is True


async def test_headers_and_errors_of_an_error_are_sent(app):
    answer, body = await ask(app, "GET", "/limited")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert body["errors"] == [{"pointer": "/key", "code": "rate_limited", "detail": "Come back in 7 s."}]


async def test_a_failing_dependency_is_logged_with_its_code(app, caplog):
    answer, body = await ask(app, "GET", "/down")
    assert (answer.status_code, body["type"]) == (503, "urn:signalbox:problem:unavailable")
    assert [record.code for record in caplog.records if record.levelno == logging.WARNING] == ["unavailable"]
