"""``signalbox tools call`` as a process of its own, against a backend that really listens."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORKFLOW = """
workflow_id: shop
name: Shop
variables: {base: "http://127.0.0.1:1"}
tools:
  - id: pay
    parameters: {type: object, properties: {amount: {type: number}}, required: [amount]}
    effect: write
    request: {method: POST, url: "{{ vars.base }}/pay", body: {amount: "{{ arguments.amount }}"}}
    auth: {type: bearer, token: "secret:shop"}
    response: {select: paid}
"""


@contextmanager
def backend() -> Iterator[tuple[int, list[tuple[dict[str, str], bytes]]]]:
    """Takes payments; yields its port and what it received."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            content = json.dumps({"paid": json.loads(body)["amount"]}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing of it on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_tool_of_a_file_is_called_with_the_operators_settings(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    command = [
        str(Path(sys.executable).with_name("signalbox")),
        "tools",
        "call",
        "pay",
        "amount=2.5",
        "--yes",
    ]
    with backend() as (port, received):
        settings = {
            **os.environ,
            "SIGNALBOX_VARIABLES": json.dumps({"base": f"http://127.0.0.1:{port}"}),
            "SIGNALBOX_SECRET_SHOP": "t0ken-of-the-shop",
        }

        def run(**more: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command,
                cwd=tmp_path,
                env={**settings, **more},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        refused = run()
        assert (refused.returncode, refused.stdout, received) == (1, "", [])
        assert f"add '127.0.0.1:{port}' to the allowed hosts" in refused.stderr
        paid = run(SIGNALBOX_OUTBOUND_ALLOW=json.dumps([f"127.0.0.1:{port}"]))
    assert (paid.returncode, json.loads(paid.stdout)) == (0, 2.5), paid.stderr
    assert "1 attempt" in paid.stderr
    [(headers, body)] = received
    assert (headers["authorization"], body) == ("Bearer t0ken-of-the-shop", b'{"amount":2.5}')
    assert headers["idempotency-key"].startswith("call_")
