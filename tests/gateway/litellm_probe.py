"""Run by test_gateway_litellm in a process of its own: writes, as JSON, what litellm did and when it was imported."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import openai
from support.gateway_app import RunningGateway, deployment

from signalbox_fake_provider import FakeProvider

ASK: Any = [{"role": "user", "content": "hello gateway"}]


def main() -> None:
    """Call an OpenAI-compatible deployment, then one that litellm serves."""
    found: dict[str, Any] = {"outside": watched()}
    with FakeProvider() as provider, tempfile.TemporaryDirectory() as directory:
        slow = deployment(provider, "slow", provider="hosted_vllm", timeout_s=0.5)
        gateway = RunningGateway(
            Path(directory),
            llm_deployments=[
                deployment(provider),
                deployment(provider, "other", provider="hosted_vllm"),
                slow,
            ],
        )
        gateway.start()
        client = gateway.client()
        client.chat.completions.create(model="alias", messages=ASK)
        found["imported_early"] = "litellm" in sys.modules
        answers(client, found)
        found["imported_late"] = "litellm" in sys.modules
        failures(client, provider, found)
        gateway.stop()
        found["rows"] = [
            [
                row[name]
                for name in (
                    "model_asked",
                    "deployment",
                    "output_tokens",
                    "cost_pico",
                    "outcome",
                    "estimated",
                )
            ]
            for row in gateway.rows()
        ]
    sys.stdout.write(json.dumps(found))


def watched() -> list[str]:
    """A list that grows with every connection or look-up that leaves this machine."""
    outside: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[1][0] not in {"127.0.0.1", "::1"}:
            outside.append(f"connect {arguments[1]}")
        if event == "socket.getaddrinfo" and arguments[0] not in {"127.0.0.1", "localhost", None, ""}:
            outside.append(f"resolve {arguments[0]}")

    sys.addaudithook(watch)
    return outside


def answers(client: openai.OpenAI, found: dict[str, Any]) -> None:
    """A whole answer and a streamed one; a parameter of litellm's own in the body must not reach it."""
    reply = client.chat.completions.create(model="other", messages=ASK, extra_body={"mock_response": "no"})
    found["whole"] = [reply.model, reply.choices[0].message.content]
    chunks = list(client.chat.completions.create(model="other", messages=ASK, stream=True))
    found["streamed"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def failures(client: openai.OpenAI, provider: FakeProvider, found: dict[str, Any]) -> None:
    """A refusal, plain and before a stream, and a provider that does not answer in time."""
    provider.script([{"fault": {"status": 429, "message": "slow down"}}])
    for streamed in (False, True):
        try:
            client.chat.completions.create(model="other", messages=ASK, stream=streamed)
        except openai.RateLimitError as error:
            found[f"refused_{streamed}"] = error.message
    provider.script([{"fault": "hang"}])
    try:
        client.chat.completions.create(model="slow", messages=ASK)
    except openai.InternalServerError as error:
        found["timed_out"] = error.status_code


if __name__ == "__main__":
    main()
