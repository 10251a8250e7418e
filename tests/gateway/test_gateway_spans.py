"""Spans of attempts: what the semantic conventions ask for, and what was said only where that is switched on."""

import json
import logging

import openai
import pytest
from support.gateway_app import deployment, wait_for

PLANTED = "planted-4711 for ana@shop.example, password: hunter2, card 4111 1111 1111 1111"
ASK = [{"role": "user", "content": PLANTED}]


@pytest.fixture
def traced(start_gateway, provider, tmp_path):
    """Starts a gateway whose spans are in a file."""

    def start(**settings):
        file = tmp_path / "spans.jsonl"
        gateway = start_gateway(llm_deployments=[deployment(provider)], trace_file=file, **settings)
        return gateway, file

    return start


def spans(file, count):
    """The spans of attempts, when so many are there."""

    def found():
        lines = file.read_text().splitlines() if file.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [entry for entry in entries if "gen_ai.operation.name" in (entry.get("attributes") or {})]

    wait_for(lambda: len(found()) >= count)
    return found()


def logged(caplog):
    """What we log; the test's own client logs too."""
    return "".join(record.getMessage() for record in caplog.records if record.name.startswith("signalbox"))


def ask(gateway, **options):
    return gateway.client().chat.completions.create(model="alias", messages=ASK, **options)


def test_a_span_names_what_was_asked_and_used_and_nothing_that_was_said(traced, provider, caplog):
    caplog.set_level(logging.DEBUG, logger="signalbox")
    gateway, file = traced()
    ask(gateway)
    list(ask(gateway, stream=True))
    whole, streamed = spans(file, 2)
    assert (whole["name"], whole["kind"]) == ("chat fake-model", "SpanKind.CLIENT")
    attributes = whole["attributes"]
    assert attributes["gen_ai.provider.name"] == "openai-compatible"
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "fake-model"
    assert attributes["server.address"] == "127.0.0.1"
    assert attributes["gen_ai.usage.input_tokens"] > 0
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert "gen_ai.request.stream" not in attributes
    assert streamed["attributes"]["gen_ai.request.stream"] is True
    assert 0 < streamed["attributes"]["gen_ai.response.time_to_first_chunk"] < 10
    assert "planted-4711" not in file.read_text()
    assert "planted-4711" not in logged(caplog)


def test_a_failed_attempt_has_its_error_s_type(traced, provider):
    gateway, file = traced()
    provider.script([{"fault": {"status": 400, "code": "invalid_value", "message": PLANTED}}])
    with pytest.raises(openai.BadRequestError):
        ask(gateway)
    (span,) = spans(file, 1)
    assert span["attributes"]["error.type"] == "invalid_value"
    assert span["status"] == {"status_code": "ERROR", "description": "invalid_value"}
    assert "planted-4711" not in file.read_text()


def test_what_was_said_is_kept_where_it_is_switched_on_without_what_must_not_be(traced, provider, caplog):
    caplog.set_level(logging.DEBUG, logger="signalbox")
    gateway, file = traced(llm_record_content=True)
    ask(gateway)
    list(ask(gateway, stream=True))
    kept = "planted-4711 for [email], password: [secret], card [card]"
    for span in spans(file, 2):
        asked = json.loads(span["attributes"]["gen_ai.input.messages"])
        assert asked == [{"role": "user", "parts": [{"type": "text", "content": kept}]}]
        (said,) = json.loads(span["attributes"]["gen_ai.output.messages"])
        assert said["parts"] == [{"type": "text", "content": f"echo: {kept}"}]
        assert said["finish_reason"] == "stop"
    assert "hunter2" not in file.read_text()
    assert "planted-4711" not in logged(caplog)
