"""The SDKs of OpenAI and Anthropic for Node, unmodified, against the gateway on a socket."""

import shutil

import pytest
from support.gateway_app import deployment
from support.node_sdks import SCRIPTS, NodeSdks, installed_modules

CALL = {"reply": {"tool_calls": [{"name": "get_order", "arguments": {"order_number": 1042}}]}}
TEXT = "echo: hello gateway"


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> NodeSdks:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    return NodeSdks(installed_modules(), tmp_path_factory.mktemp("node") / "scripts")


def test_the_lock_file_names_no_registry():
    assert "://" not in (SCRIPTS / "package-lock.json").read_text()


def test_openai_chats(node, gateway):
    result = node.run("openai", gateway.url, "chat")["result"]
    (row,) = gateway.wait_for_rows(1)
    assert (result["text"], result["model"], result["call"]) == (TEXT, "alias", row["call_id"])
    assert result["usage"]["completion_tokens"] == row["output_tokens"] == 5


def test_openai_streams(node, gateway):
    result = node.run("openai", gateway.url, "stream")["result"]
    assert result["text"] == TEXT
    assert result["chunks"] > 5
    assert result["usage"]["completion_tokens"] == gateway.wait_for_rows(1)[0]["output_tokens"] == 5


def test_openai_calls_tools(node, gateway, provider):
    provider.script([CALL])
    whole, streamed = node.run("openai", gateway.url, "tools")["result"]
    assert whole == streamed == {"reason": "tool_calls", "calls": [{"order_number": 1042}]}


def test_openai_reads_structured_output(node, gateway, provider):
    provider.script([{"reply": {"json": {"order_number": 7}}}])
    assert node.run("openai", gateway.url, "structured")["result"] == {"order_number": 7}
    assert provider.requests()[-1].body["response_format"]["json_schema"]["name"] == "order"


def test_openai_embeds(node, gateway):
    result = node.run("openai", gateway.url, "embeddings")["result"]
    assert result["lengths"] == [256, 256]
    assert isinstance(result["first"], float | int)


def test_openai_lists_models(node, gateway):
    assert node.run("openai", gateway.url, "models")["result"] == ["alias", "fake-small", "fake-embedding"]


def test_openai_responds_and_goes_on_from_what_is_kept(node, gateway):
    result = node.run("openai", gateway.url, "respond")["result"]
    row, _ = gateway.wait_for_rows(2)
    assert result["texts"] == [TEXT] * 3
    assert (result["status"], result["call"]) == ("completed", row["call_id"])
    assert result["usage"]["output_tokens"] == row["output_tokens"] == 5


def test_openai_streams_responses(node, gateway):
    result = node.run("openai", gateway.url, "respondStream")["result"]
    assert result["text"] == TEXT
    assert result["kinds"].count("response.output_text.delta") == 5
    assert (result["kinds"][0], result["kinds"][-1]) == ("response.created", "response.completed")


def test_openai_calls_functions_in_responses(node, gateway, provider):
    provider.script([CALL])
    result = node.run("openai", gateway.url, "respondTools")["result"]
    assert result == [["get_order", {"order_number": 1042}]] * 2


def test_openai_reads_structured_responses(node, gateway, provider):
    provider.script([{"reply": {"json": {"order_number": 7}}}])
    assert node.run("openai", gateway.url, "respondStructured")["result"] == {"order_number": 7}


def test_openai_follows_background_responses(node, gateway):
    result = node.run("openai", gateway.url, "respondInBackground")["result"]
    assert result == {"first": "queued", "last": "response.completed", "text": TEXT, "then": "completed"}


def test_anthropic_chats(node, gateway):
    result = node.run("anthropic", gateway.url, "chat")["result"]
    (row,) = gateway.wait_for_rows(1)
    assert result["content"] == [TEXT]
    assert (result["model"], result["stop_reason"]) == ("alias", "end_turn")
    assert result["usage"] == [row["input_tokens"], row["output_tokens"]]
    assert result["call"] == row["call_id"]
    assert result["request"]


def test_anthropic_streams(node, gateway):
    result = node.run("anthropic", gateway.url, "stream")["result"]
    (row,) = gateway.wait_for_rows(1)
    assert result["content"] == [TEXT]
    assert result["usage"] == [row["input_tokens"], 5]
    assert result["kinds"].count("content_block_delta") == 5
    assert result["kinds"][-1] == "message_stop"


def test_anthropic_calls_tools(node, gateway, provider):
    provider.script([CALL])
    for message in node.run("anthropic", gateway.url, "tools")["result"]:
        assert (message["stop_reason"], message["content"]) == ("tool_use", [{"order_number": 1042}])


def test_anthropic_reads_structured_output(node, gateway, provider):
    provider.script([{"reply": {"json": {"order_number": 7}}}])
    assert node.run("anthropic", gateway.url, "structured")["result"] == {"order_number": 7}


def test_anthropic_counts_tokens(node, gateway, provider):
    assert node.run("anthropic", gateway.url, "count")["result"] > 0
    assert provider.requests() == []


@pytest.mark.parametrize("fault", [{"status": 429, "code": "slow"}, {"status": 500, "code": "down"}])
def test_failures_of_responses_are_the_sdks_own_exceptions(node, gateway, provider, fault):
    provider.script([{"fault": fault}])
    expected = {429: "RateLimitError", 500: "InternalServerError"}[fault["status"]]
    for scenario in ("respond", "respondStream"):
        found = node.run("openai", gateway.url, scenario)
        assert (found["error"], found["status"], found["code"]) == (expected, fault["status"], fault["code"])


@pytest.mark.parametrize("scenario", ["chat", "stream"])
@pytest.mark.parametrize(
    ("fault", "openai", "anthropic"),
    [
        ({"status": 400, "code": "bad"}, "BadRequestError 400 bad", "BadRequestError 400 bad"),
        ({"status": 429, "code": "slow"}, "RateLimitError 429 slow", "RateLimitError 429 slow"),
        ({"status": 500, "code": "down"}, "InternalServerError 500 down", "InternalServerError 500 down"),
        ({"status": 503, "code": "busy"}, "InternalServerError 503 busy", "OverloadedError 529 busy"),
    ],
)
def test_failures_are_the_sdks_own_exceptions(node, gateway, provider, scenario, fault, openai, anthropic):
    provider.script([{"fault": fault}])
    for script, expected in (("openai", openai), ("anthropic", anthropic)):
        found = node.run(script, gateway.url, scenario)
        assert f"{found['error']} {found['status']} {found['code']}" == expected


@pytest.mark.parametrize("script", ["openai", "anthropic"])
def test_a_stream_that_breaks_is_an_error(node, gateway, provider, script):
    provider.script([{"reply": "a long answer in some pieces", "fault": {"kind": "cut", "after_chunks": 3}}])
    assert node.run(script, gateway.url, "stream")["error"] == "APIError"


@pytest.mark.parametrize(
    ("script", "code"), [("openai", "unauthenticated"), ("anthropic", "unauthenticated")]
)
def test_a_bad_key_is_an_authentication_error(node, start_gateway, provider, script, code):
    gateway = start_gateway(auth="keys", llm_deployments=[deployment(provider)])
    found = node.run(script, gateway.url, "chat", key="sbx_0000_0000")
    assert (found["error"], found["status"], found["code"]) == ("AuthenticationError", 401, code)
