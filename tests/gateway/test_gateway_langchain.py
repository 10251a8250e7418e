"""LangChain's ChatOpenAI, unmodified, against the gateway on a socket."""

import openai
import pydantic
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

CALL = {"reply": {"tool_calls": [{"name": "get_order", "arguments": {"order_number": 1042}}]}}


class Order(pydantic.BaseModel):
    """An order."""

    number: int
    state: str


@tool
def get_order(order_number: int) -> str:
    """Looks an order up."""
    return f"order {order_number}"


@pytest.fixture
def chat(gateway):
    return ChatOpenAI(
        model="alias", base_url=f"{gateway.url}/llm/v1", api_key="local", max_retries=0, stream_usage=True
    )


def test_invoke_answers_with_its_usage(chat, gateway):
    message = chat.invoke("hello gateway")
    (row,) = gateway.wait_for_rows(1)
    assert message.content == "echo: hello gateway"
    assert message.usage_metadata["output_tokens"] == row["output_tokens"] == 5
    assert message.response_metadata["model_name"] == "alias"


async def test_stream_comes_in_pieces(chat):
    chunks = [chunk async for chunk in chat.astream("hello gateway")]
    assert "".join(chunk.content for chunk in chunks) == "echo: hello gateway"
    assert sum(bool(chunk.content) for chunk in chunks) == 5
    assert sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata) == 5


def test_tools_are_called_plain_and_streamed(chat, provider):
    provider.script([CALL])
    bound = chat.bind_tools([get_order])
    (call,) = bound.invoke("where is it?").tool_calls
    assert (call["name"], call["args"]) == ("get_order", {"order_number": 1042})
    total = None
    for chunk in bound.stream("where is it?"):
        total = chunk if total is None else total + chunk
    assert [call["args"] for call in total.tool_calls] == [{"order_number": 1042}]
    assert get_order.invoke(call).content == "order 1042"


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_parsed(chat, method):
    assert isinstance(chat.with_structured_output(Order, method=method).invoke("an order"), Order)


def test_embeddings(gateway):
    embeddings = OpenAIEmbeddings(
        model="fake-embedding",
        base_url=f"{gateway.url}/llm/v1",
        api_key="local",
        check_embedding_ctx_length=False,  # else it counts tokens with a table that it would have to fetch
    )
    assert [len(vector) for vector in embeddings.embed_documents(["one", "two"])] == [256, 256]


def test_failures_are_openais_exceptions(chat, provider):
    provider.script([{"fault": {"status": 429, "code": "slow"}}])
    with pytest.raises(openai.RateLimitError):
        chat.invoke("hello")


def test_a_stream_that_breaks_is_an_error(chat, provider):
    provider.script([{"reply": "a long answer in some pieces", "fault": {"kind": "cut", "after_chunks": 3}}])
    seen = []
    with pytest.raises(openai.APIError):
        seen.extend(chunk.content for chunk in chat.stream("hello"))
    assert len([piece for piece in seen if piece]) == 3
