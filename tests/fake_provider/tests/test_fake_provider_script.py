"""Scripts: what a mistake is answered with, scripts from files, the process of its own and the command."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from signalbox_fake_provider import FakeProvider, ScriptError

EXAMPLE = """
rules:
  - name: order
    match: {last_user_contains: order}
    reply:
      tool_calls:
        - {name: find_order, arguments: {order_id: 1042}}
    times: 1
  - fault: {status: 429, headers: {Retry-After: 2}}
"""


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"mach": {}}, r"rules\[0\]\.mach: no such field; there are match, reply"),
        ({"match": {"modell": "m"}}, r"rules\[0\]\.match\.modell: no such field"),
        ({"fault": "explode"}, r"rules\[0\]\.fault\.kind: expected one of status, .*'explode'"),
        ({"latency_ms": "fast"}, r"rules\[0\]\.latency_ms: expected a whole number, got 'fast'"),
        ({"latency_ms": -1}, r"rules\[0\]\.latency_ms: expected a number >= 0"),
        ({"times": True}, r"rules\[0\]\.times: expected a whole number, got True"),
        ({"usage": "none"}, r"rules\[0\]\.usage: expected a mapping, or false"),
        (
            {"reply": {"tool_calls": [{"arguments": {}}]}},
            r"rules\[0\]\.reply\.tool_calls\[0\]\.name: .* needs the name",
        ),
        ("echo", r"rules\[0\]: expected a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_place(rule: Any, says: str) -> None:
    with pytest.raises(ScriptError, match=says):
        FakeProvider([rule])


def test_a_bad_script_over_http_is_refused_and_the_old_one_stays() -> None:
    with FakeProvider([{"reply": "old"}]) as provider:
        with pytest.raises(ScriptError, match="no such field"):
            provider.script([{"answer": "new"}])
        reply = httpx.post(f"{provider.base_url}/chat/completions", json={"model": "m", "messages": []})
        assert reply.json()["choices"][0]["message"]["content"] == "old"


def test_a_reset_returns_to_the_first_script_unused(tmp_path: Path) -> None:
    def ask() -> str:
        reply = httpx.post(f"{provider.base_url}/chat/completions", json={"model": "m", "messages": []})
        return str(reply.json()["choices"][0]["message"]["content"])

    file = tmp_path / "script.yaml"
    file.write_text("- reply: from a file\n")
    with FakeProvider([{"reply": "first", "times": 1}]) as provider:
        assert [ask(), ask()] == ["first", "echo: "]
        provider.script(file)
        assert ask() == "from a file"
        provider.reset()
        assert [ask(), ask()] == ["first", "echo: "]


def test_a_process_of_its_own_behaves_the_same_and_returns_on_its_port() -> None:
    provider = FakeProvider([{"fault": "hang", "times": 1}, {"reply": "later"}], process=True)
    with provider:
        address = provider.base_url
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/chat/completions", json={"model": "m", "messages": []}, timeout=0.3)
        provider.wait_until(lambda seen: seen[0].disconnected)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/models")
    with provider:
        assert provider.base_url == address
        provider.script([])
        assert httpx.get(f"{address}/models").status_code == 200


def test_the_command_serves_a_script_file_and_says_where(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(EXAMPLE)
    command = [sys.executable, "-m", "signalbox_fake_provider", "--port", "0", "--script", str(script)]
    with subprocess.Popen([*command, "--model", "tiny"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.endswith("with 2 rules\n")
            url = line.split()[2]
            assert [item["id"] for item in httpx.get(f"{url}/models", timeout=5).json()["data"]] == ["tiny"]
            order = {"model": "m", "messages": [{"role": "user", "content": "my order"}]}
            statuses = [httpx.post(f"{url}/chat/completions", json=order).status_code for _ in range(2)]
            assert statuses == [200, 429]
            uses = httpx.get(url.replace("/v1", "/_control/script")).json()
            assert uses == {"rules": [{"name": "order", "uses": 1}, {"name": "rules[1]", "uses": 1}]}
        finally:
            process.terminate()
        assert process.wait(timeout=5) is not None


def test_the_command_says_plainly_what_it_cannot_use(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("- replay: x\n")
    with FakeProvider() as provider:
        taken = provider.url.rpartition(":")[2]
        for options, says in (
            (["--script", str(bad)], "rules[0].replay: no such field"),
            (["--script", str(tmp_path / "none")], "No such file"),
            (["--port", taken], f"port {taken}: Address already in use"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "signalbox_fake_provider", *options],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert done.returncode == 2
            assert says in done.stderr
