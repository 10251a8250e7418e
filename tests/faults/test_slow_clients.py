"""A thousand clients that send or read as slowly as they can: they cost descriptors, and nobody else an answer."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from support.readiness import is_ready
from support.systems import SHOP_WORKFLOW
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import OneProcess

pytestmark = pytest.mark.faults

HEAD = b"POST /api/v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BODY = b'{"message": "hello", "session_id": "slow-reader"}'
KINDS = {
    "silent": b"",
    "half a head": HEAD,
    "half a body": HEAD + b'Content-Length: 4000\r\n\r\n{"message":',
    "no reader": (HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY) * 3,
}


@contextmanager
def slow_clients(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, a quarter of each kind, none of which reads anything or says the rest."""
    parts = urlsplit(url)
    with ExitStack() as held:
        made = []
        for number in range(count):
            client = held.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=10))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.sendall(list(KINDS.values())[number % len(KINDS)])
            made.append(client)
        yield made


def is_closed(client: socket.socket) -> bool:
    """Whether the server has ended the connection, what it had said before set aside."""
    client.setblocking(False)
    try:
        while client.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    ("count", "rounds"), [(200, 1), pytest.param(1000, 3, marks=pytest.mark.soak)], ids=["200", "1000"]
)
def test_slow_clients_hold_up_nobody_and_are_sent_away(tmp_path: Path, count: int, rounds: int) -> None:
    env = {
        "SIGNALBOX_OLLAMA_URL": "",
        # What the defaults say in tens of seconds, in seconds.
        "SIGNALBOX_LLM_HEAD_TIMEOUT_S": "2",
        "SIGNALBOX_LLM_BODY_TIMEOUT_S": "4",
    }
    with OneProcess(tmp_path, env=env, shop=True) as system:
        system.run_cli("publish", str(SHOP_WORKFLOW), "--url", system.edge_url)
        process = psutil.Process(system.process.pid)
        with Traffic(system.edge_url) as traffic:
            traffic.wait_for(more_acknowledged=10)
            files, memory = process.num_fds(), process.memory_info().rss
            most_files = 0
            for _ in range(rounds):
                with slow_clients(system.edge_url, count) as clients:
                    traffic.wait_for(more_acknowledged=15)
                    assert is_ready(system.edge_url)
                    most_files = max(most_files, process.num_fds())
                    begun = time.monotonic()
                    half = [client for number, client in enumerate(clients) if number % len(KINDS) < 3]
                    eventually(
                        lambda half=half: all(map(is_closed, half)),
                        "who does not say the rest is sent away",
                        30,
                    )
                    sent_away_s = time.monotonic() - begun
            eventually(lambda: process.num_fds() < files + 20, "every descriptor is given back")
            grown = process.memory_info().rss - memory
        traffic.check().print(
            f"14 {count} slow clients, {rounds} times",
            most_descriptors=most_files,
            sent_away_after_s=round(sent_away_s, 1),
            memory_grown_MiB=grown >> 20,
        )
        assert traffic.failures == []
        assert grown < 100 << 20
