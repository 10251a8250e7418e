"""The Responses API of the ``openai`` SDK for Python, unmodified, against the gateway on a socket."""

import json
import time

import openai
import pydantic
import pytest
from support.gateway_app import RunningGateway, deployment, wait_for

TOOL = {
    "type": "function",
    "name": "get_order",
    "description": "Looks an order up.",
    "parameters": {
        "type": "object",
        "properties": {"order_number": {"type": "integer"}},
        "required": ["order_number"],
        "additionalProperties": False,
    },
    "strict": True,
}
LONG = {"reply": "a long answer that takes a while to be told in all of its many small pieces"}


class Order(pydantic.BaseModel):
    order_number: int


@pytest.fixture
def client(gateway: RunningGateway) -> openai.OpenAI:
    return gateway.client()


def ended(client: openai.OpenAI, response_id: str):
    """The response, once it is over."""
    wait_for(lambda: client.responses.retrieve(response_id).status not in {"queued", "in_progress"})
    return client.responses.retrieve(response_id)


def test_a_response_is_answered_counted_priced_and_kept(client, gateway, provider):
    raw = client.responses.with_raw_response.create(
        model="alias",
        instructions="Be brief.",
        input="hello gateway",
        max_output_tokens=50,
        temperature=0.5,
        metadata={"ticket": "7"},
        user="u1",
    )
    response = raw.parse()
    assert response.output_text == "echo: hello gateway"
    (row,) = gateway.wait_for_rows(1)
    assert raw.headers["signalbox-llm-call-id"] == row["call_id"]
    assert response.id == f"resp_{row['call_id'].partition('_')[2]}"
    assert (response.status, response.model, response.metadata) == ("completed", "alias", {"ticket": "7"})
    assert (response.usage.input_tokens, response.usage.output_tokens) == (row["input_tokens"], 5)
    assert row["cost_pico"] == row["input_tokens"] * 1_000_000 + 5 * 2_000_000
    body = provider.requests()[-1].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["model"], body["max_tokens"], body["user"]) == ("fake-model", 50, "u1")
    assert not {"store", "metadata", "input", "instructions"} & body.keys()
    assert client.responses.retrieve(response.id) == response


def test_a_stream_tells_of_everything_in_order(client, gateway):
    with client.responses.stream(model="alias", input="hello gateway") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 5,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == events[-4].text == "echo: hello gateway"
    (row,) = gateway.wait_for_rows(1)
    assert (row["output_tokens"], row["streamed"], row["outcome"]) == (5, 1, "ok")
    assert final.usage.output_tokens == 5
    assert client.responses.retrieve(final.id).output_text == final.output_text


def test_a_conversation_goes_on_from_a_response_without_its_instructions(client, provider):
    first = client.responses.create(model="alias", instructions="Be brief.", input="my name is Ada")
    second = client.responses.create(model="alias", input="and my number is 7", previous_response_id=first.id)
    client.responses.create(model="alias", input="who am I?", previous_response_id=second.id)
    assert provider.requests()[-1].body["messages"] == [
        {"role": "user", "content": "my name is Ada"},
        {"role": "assistant", "content": "echo: my name is Ada"},
        {"role": "user", "content": "and my number is 7"},
        {"role": "assistant", "content": "echo: and my number is 7"},
        {"role": "user", "content": "who am I?"},
    ]
    assert second.previous_response_id == first.id
    client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alias", input="who am I?", previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize("streamed", [False, True])
def test_functions_are_called_and_their_results_read(client, provider, streamed):
    calls = [{"name": "get_order", "arguments": {"order_number": number}} for number in (1042, 7)]
    provider.script(
        [
            {"match": {"has_tool_result": False}, "reply": {"content": "Let me see.", "tool_calls": calls}},
            {"match": {"has_tool_result": True}, "reply": "It is on its way."},
        ]
    )
    asked = {"model": "alias", "input": "where is it?", "tools": [TOOL], "parallel_tool_calls": True}
    if streamed:
        with client.responses.stream(**asked) as stream:
            first = stream.get_final_response()
    else:
        first = client.responses.create(**asked)
    assert [item.type for item in first.output] == ["message", "function_call", "function_call"]
    assert [json.loads(item.arguments) for item in first.output[1:]] == [call["arguments"] for call in calls]
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "shipped"}
        for item in first.output[1:]
    ]
    last = client.responses.create(model="alias", input=results, previous_response_id=first.id, tools=[TOOL])
    assert last.output_text == "It is on its way."
    messages = provider.requests()[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == [
        message["tool_call_id"] for message in messages[2:]
    ]


def test_structured_output_is_parsed(client, provider):
    provider.script([{"reply": {"json": {"order_number": 7}}}])
    response = client.responses.parse(model="alias", input="which order?", text_format=Order)
    assert response.output_parsed == Order(order_number=7)
    asked = provider.requests()[-1].body["response_format"]
    assert (asked["type"], asked["json_schema"]["name"]) == ("json_schema", "Order")
    assert asked["json_schema"]["schema"]["required"] == ["order_number"]
    with client.responses.stream(model="alias", input="which order?", text_format=Order) as stream:
        assert stream.get_final_response().output_parsed == Order(order_number=7)


def test_an_answer_that_is_cut_is_incomplete(client, provider):
    provider.script([{"reply": {"content": "half an ans", "finish_reason": "length"}}])
    response = client.responses.create(model="alias", input="tell me", max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    events = list(client.responses.create(model="alias", input="tell me", stream=True))
    assert events[-1].type == "response.incomplete"


def test_what_is_not_to_be_stored_is_not(client, gateway):
    response = client.responses.create(model="alias", input="a secret", store=False)
    streamed = list(client.responses.create(model="alias", input="a secret", store=False, stream=True))
    for identifier in (response.id, streamed[-1].response.id):
        with pytest.raises(openai.NotFoundError) as missing:
            client.responses.retrieve(identifier)
        assert missing.value.code == "response_not_found"
    assert gateway.rows("llm_responses") == gateway.rows("llm_response_events") == []


def test_a_deleted_response_is_gone_with_all_that_was_kept(client, gateway):
    response = client.responses.create(model="alias", input="hello", background=True)
    ended(client, response.id)
    client.responses.delete(response.id)
    assert gateway.rows("llm_responses") == gateway.rows("llm_response_events") == []
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            gone(response.id)


def test_input_items_are_listed_in_pages(client):
    response = client.responses.create(
        model="alias",
        input=[{"role": "user", "content": text} for text in ("one", "two", "three")],
    )
    items = list(client.responses.input_items.list(response.id, limit=2, order="asc"))
    assert [item.content[0].text for item in items] == ["one", "two", "three"]
    newest = client.responses.input_items.list(response.id, limit=1)
    assert newest.data[0].content[0].text == "three"
    assert newest.has_more


def test_a_background_response_goes_on_without_its_client(client, gateway, provider):
    provider.script([{**LONG, "chunk_delay_ms": 10}])
    queued = client.responses.create(model="alias", input="tell me", background=True)
    assert (queued.status, queued.output) == ("queued", [])
    done = ended(client, queued.id)
    assert (done.status, done.output_text) == ("completed", LONG["reply"])
    (row,) = gateway.wait_for_rows(1)
    assert (row["outcome"], row["output_tokens"]) == ("ok", done.usage.output_tokens)


def test_the_events_of_a_background_response_can_be_read_again_from_anywhere(client, provider):
    provider.script([{**LONG, "chunk_delay_ms": 20}])
    seen = []
    with client.responses.create(model="alias", input="tell me", background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id = seen[0].response.id
    last = seen[-1].sequence_number
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
    assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    assert rest[-1].type == "response.completed"
    again = list(client.responses.retrieve(response_id, stream=True))
    assert [event.to_dict() for event in again] == [event.to_dict() for event in [*seen, *rest]]
    assert "".join(event.delta for event in again if event.type.endswith("text.delta")) == LONG["reply"]
    assert list(client.responses.retrieve(response_id, stream=True, starting_after=len(again) - 1)) == []
    with client.responses.stream(response_id=response_id, starting_after=last) as followed:
        assert followed.get_final_response().output_text == LONG["reply"]


def test_cancelling_stops_the_model(client, gateway, provider):
    provider.script([{**LONG, "fault": {"kind": "stall", "after_chunks": 3}}])
    running = client.responses.create(model="alias", input="tell me", background=True)
    wait_for(lambda: client.responses.retrieve(running.id).status == "in_progress")
    provider.wait_until(lambda seen: len(seen) == 1)
    assert client.responses.cancel(running.id).status == "cancelled"
    provider.wait_until(lambda seen: seen[-1].disconnected)
    (row,) = gateway.wait_for_rows(1)
    assert (row["outcome"], row["estimated"]) == ("aborted", 1)
    assert client.responses.cancel(running.id).status == "cancelled"
    assert list(client.responses.retrieve(running.id, stream=True))[-1].type == "response.cancelled"


def test_who_follows_a_response_learns_at_once_that_it_was_cancelled(client, provider):
    provider.script([{**LONG, "fault": {"kind": "stall", "after_chunks": 3}}])
    with client.responses.create(model="alias", input="tell me", background=True, stream=True) as stream:
        first = next(iter(stream))
        provider.wait_until(lambda seen: len(seen) == 1)
        client.responses.cancel(first.response.id)
        began = time.monotonic()
        last = list(stream)[-1]
    assert time.monotonic() - began < 1.0
    assert last.type == "response.cancelled"
    assert last.response["status"] == "cancelled"  # an event that the SDK has no model of


def test_input_tokens_are_estimated_without_a_call(client, provider):
    begun = client.responses.create(model="alias", input="my name is Ada " * 20)
    short = client.responses.input_tokens.count(model="alias", input="hi")
    long = client.responses.input_tokens.count(model="alias", input="hi", previous_response_id=begun.id)
    assert 0 < short.input_tokens < 30
    assert long.input_tokens > 90
    assert len(provider.requests()) == 1


def test_only_what_has_an_answer_can_be_continued(client, provider):
    provider.script([{"fault": "hang", "times": 1}])
    running = client.responses.create(model="alias", input="tell me", background=True)
    provider.wait_until(lambda seen: len(seen) == 1)
    for word in ("queued", "cancelled"):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="alias", input="go on", previous_response_id=running.id)
        assert refused.value.code == "previous_response_not_found"
        assert word in refused.value.message or "in progress" in refused.value.message
        client.responses.cancel(running.id)


def test_only_background_responses_can_be_cancelled_or_followed(client):
    response = client.responses.create(model="alias", input="hello")
    for refused in (client.responses.cancel, lambda found: client.responses.retrieve(found, stream=True)):
        with pytest.raises(openai.BadRequestError) as error:
            refused(response.id)
        assert error.value.code == "not_in_background"


def test_a_response_that_was_made_when_the_process_ended_has_failed(client, gateway, provider):
    provider.script([{**LONG, "fault": {"kind": "stall", "after_chunks": 3}}])
    running = client.responses.create(model="alias", input="tell me", background=True)
    provider.wait_until(lambda seen: len(seen) == 1)
    gateway.restart()
    found = client.responses.retrieve(running.id)
    assert (found.status, found.error.code) == ("failed", "response_interrupted")
    with pytest.raises(openai.APIError):
        list(client.responses.retrieve(running.id, stream=True))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 400, "code": "bad"}, openai.BadRequestError),
        ({"status": 429, "code": "slow"}, openai.RateLimitError),
        ({"status": 500, "code": "down"}, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_is_the_sdks_own_exception(client, provider, fault, error, streamed):
    provider.script([{"fault": fault}])
    with pytest.raises(error) as raised:
        client.responses.create(model="alias", input="hello", stream=streamed)
    assert raised.value.code == fault["code"]


def test_a_stream_that_breaks_is_an_error_and_is_kept_as_failed(client, gateway, provider):
    provider.script([{**LONG, "fault": {"kind": "cut", "after_chunks": 3}}])
    events = client.responses.create(model="alias", input="hello", stream=True)
    response_id = next(iter(events)).response.id
    with pytest.raises(openai.APIError):
        list(events)
    wait_for(lambda: len(gateway.rows("llm_responses")) == 1)
    kept = client.responses.retrieve(response_id)
    assert (kept.status, kept.error.code) == ("failed", "provider_broke_off")
    assert kept.output[0].status == "incomplete"


def test_of_a_response_whose_client_left_nothing_is_kept(client, gateway, provider):
    provider.script([{**LONG, "fault": {"kind": "stall", "after_chunks": 3}}])
    with client.responses.create(model="alias", input="hello", stream=True) as stream:
        next(iter(stream))
    provider.wait_until(lambda seen: seen[-1].disconnected)
    (row,) = gateway.wait_for_rows(1)
    assert row["outcome"] == "aborted"
    assert gateway.rows("llm_responses") == []


def test_a_background_response_that_the_provider_refuses_has_failed(client, provider):
    provider.script([{"fault": {"status": 400, "code": "bad", "message": "no"}}])
    found = ended(client, client.responses.create(model="alias", input="hello", background=True).id)
    assert (found.status, found.error.code, found.error.message) == ("failed", "bad", "no")


def test_more_background_responses_than_allowed_are_refused(start_gateway, provider):
    provider.script([{"fault": "hang"}])
    gateway = start_gateway(llm_deployments=[deployment(provider)], responses_max_background=1)
    client = gateway.client()
    running = client.responses.create(model="alias", input="hello", background=True)
    with pytest.raises(openai.InternalServerError) as full:
        client.responses.create(model="alias", input="hello", background=True)
    assert (full.value.status_code, full.value.code) == (503, "background_full")
    client.responses.cancel(running.id)
    wait_for(lambda: gateway.rows()[0]["outcome"] == "aborted" if gateway.rows() else False)
    client.responses.cancel(client.responses.create(model="alias", input="hello", background=True).id)
