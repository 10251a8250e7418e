"""The bench's load where there is no C compiler; `native/load.c` says what it sends, checks and prints.

python load.py PORT CONNECTIONS WARM_UP_S SECONDS TOKENS < request
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvloop


@dataclass(slots=True)
class Tally:
    """What all connections found; times are seconds."""

    request: bytes
    tokens: int
    measuring: bool = False
    over: bool = False
    answered: int = 0
    reconnects: int = 0
    errors: int = 0
    first_error: str = ""
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)

    def fail(self, why: str, answer: bytes) -> None:
        """Count a wrong answer; the first is kept to be told."""
        if self.measuring:
            self.errors += 1
        self.first_error = self.first_error or f"{why}: {answer[:300].decode(errors='replace')}"


class Connection(asyncio.Protocol):
    """Sends the next request when the last one is answered."""

    def __init__(self, tally: Tally, port: int) -> None:
        self._tally = tally
        self._port = port
        self._begun = False

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Open another connection; a begun answer is an error."""
        del exc
        if self._tally.over:
            return
        if self._begun:
            self._tally.fail("the connection broke", b"".join(self._body))
        self._tally.reconnects += 1
        connect(self._tally, self._port)

    def _send(self) -> None:
        if self._tally.over:
            return
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._found = 0
        self._begun = False
        self._first = 0.0
        self._sent = time.perf_counter()
        self._transport.write(self._tally.request)

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        self._begun = True
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect the answer, and note the first token."""
        self._body.append(body)
        if not self._first and b'"tok ' in body:
            self._first = time.perf_counter()

    def on_message_complete(self) -> None:
        """Judge the answer, and go on."""
        taken = time.perf_counter() - self._sent
        tally, answer = self._tally, b"".join(self._body)
        if self._parser.get_status_code() != 200:
            tally.fail("status", answer)
        elif answer.count(b'"tok ') != tally.tokens:
            tally.fail("tokens", answer)
        elif tally.tokens > 1 and b"[DONE]" not in answer[-200:]:
            tally.fail("no [DONE]", answer)
        else:
            tally.answered += 1
            if tally.measuring:
                tally.latencies.append(taken)
                tally.firsts.append(self._first - self._sent)
        self._begun = False
        if self._parser.should_keep_alive():
            # After the parser has returned: it may not be replaced inside its own call.
            asyncio.get_running_loop().call_soon(self._send)
        else:
            self._transport.close()


def connect(tally: Tally, port: int) -> None:
    """Open one more connection."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(loop.create_connection(lambda: Connection(tally, port), "127.0.0.1", port))
    task.add_done_callback(lambda done: done.result())


def quantile_us(values: list[float], share: float) -> float:
    """A quantile of seconds, in microseconds."""
    return sorted(values)[int(share * (len(values) - 1))] * 1e6 if values else 0.0


async def main() -> None:
    """Put the load on, and print what came of it."""
    port, connections, warm_up_s, seconds, tokens = (float(argument) for argument in sys.argv[1:6])
    tally = Tally(sys.stdin.buffer.read(), int(tokens))
    for _ in range(int(connections)):
        connect(tally, int(port))
    await asyncio.sleep(warm_up_s)
    print("measuring", flush=True)
    started, cpu = time.perf_counter(), time.process_time()
    tally.measuring = True
    await asyncio.sleep(seconds)
    # The loop goes on until the process has ended: what it sent then, nobody would count.
    tally.measuring, tally.over = False, True
    told = {
        "count": len(tally.latencies),
        "answered": tally.answered,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "p50_us": quantile_us(tally.latencies, 0.5),
        "p99_us": quantile_us(tally.latencies, 0.99),
        "first_p50_us": quantile_us(tally.firsts, 0.5),
        "first_p99_us": quantile_us(tally.firsts, 0.99),
        "errors": tally.errors,
        "reconnects": tally.reconnects,
        "first_error": tally.first_error,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
