"""The shop as an HTTP service, as a retailer would have one: resources, statuses, problem bodies, idempotency keys.

Each conversation (header ``X-Conversation``) has the shop to itself, as it was when the conversation was recorded.
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from replay.shop import Refused, Shop

CONVERSATION = "X-Conversation"
KEY = "Idempotency-Key"

_ROUTES = [
    (method, re.compile(pattern), tool)
    for method, pattern, tool in (
        ("GET", r"/users/(?P<user_id>[^/]+)", "get_user_details"),
        ("GET", r"/orders/(?P<order_id>[^/]+)", "get_order_details"),
        ("GET", r"/products/(?P<product_id>[^/]+)", "get_product_details"),
        ("GET", r"/product-types", "list_all_product_types"),
        ("GET", r"/calculation", "calculate"),
        ("POST", r"/transfers", "transfer_to_human_agents"),
        ("POST", r"/orders/(?P<order_id>[^/]+)/cancellation", "cancel_pending_order"),
        ("POST", r"/orders/(?P<order_id>[^/]+)/return", "return_delivered_order_items"),
        ("POST", r"/orders/(?P<order_id>[^/]+)/exchange", "exchange_delivered_order_items"),
        ("PUT", r"/orders/(?P<order_id>[^/]+)/items", "modify_pending_order_items"),
        ("PUT", r"/orders/(?P<order_id>[^/]+)/address", "modify_pending_order_address"),
        ("PUT", r"/orders/(?P<order_id>[^/]+)/payment", "modify_pending_order_payment"),
        ("PUT", r"/users/(?P<user_id>[^/]+)/address", "modify_user_address"),
    )
]


@dataclass(frozen=True)
class Write:
    """A request that asked for a change. ``done`` is whether it was made; a repeated one is not made again."""

    tool: str
    arguments: dict[str, Any]
    key: str
    done: bool
    repeated: bool


@dataclass
class _Conversation:
    shop: Shop
    writes: list[Write] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Of writes, by their keys."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class RetailBackend:
    """On a free loopback port; a context manager."""

    def __init__(self, data: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
        self._data = data
        self._conversations: dict[str, _Conversation] = {}
        self._lock = threading.Lock()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, data = backend._serve(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                )
                self.send_response(status)
                self.send_header(
                    "Content-Type", "application/json" if status < 400 else "application/problem+json"
                )
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server names them

            def log_message(self, *_words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="retail", daemon=True)

    @property
    def url(self) -> str:
        """Base URL without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def writes(self, conversation: str) -> list[Write]:
        """What a conversation asked to change, in the order in which it came."""
        return list(self._of(conversation).writes)

    def changes(self, conversation: str) -> dict[str, Any]:
        """See `Shop.changes`."""
        return self._of(conversation).shop.changes()

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def _of(self, conversation: str) -> _Conversation:
        with self._lock:
            return self._conversations.setdefault(conversation, _Conversation(Shop(self._data)))

    def _serve(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        found = _operation(method, target, body)
        name = headers.get(CONVERSATION.lower())
        if found is None or not name:
            return _problem(
                404 if name else 400, "No such resource" if name else f"{CONVERSATION} is missing"
            )
        tool, arguments = found
        conversation = self._of(name)
        if method == "GET":
            return _done(conversation.shop, tool, arguments)
        key = headers.get(KEY.lower(), "")
        if not key:
            return _problem(400, f"{KEY} is missing")
        with conversation.lock:
            repeated = key in conversation.answers
            status, data = conversation.answers.get(key) or _done(conversation.shop, tool, arguments)
            conversation.answers[key] = status, data
            conversation.writes.append(Write(tool, arguments, key, status < 400 and not repeated, repeated))
        return status, data


def _operation(method: str, target: str, body: bytes) -> tuple[str, dict[str, Any]] | None:
    """The tool that a request means, and its arguments: from path, query and body."""
    parts = urlsplit(target)
    query: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if (method, parts.path) == ("GET", "/users"):
        return ("find_user_id_by_email" if "email" in query else "find_user_id_by_name_zip"), query
    for wanted, pattern, tool in _ROUTES:
        matched = pattern.fullmatch(parts.path)
        if matched and wanted == method:
            path = {name: unquote(value) for name, value in matched.groupdict().items()}
            return tool, {**query, **path, **(json.loads(body) if body else {})}
    return None


def _done(shop: Shop, tool: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
    try:
        return 200, json.dumps(shop.call(tool, arguments)).encode()
    except Refused as refusal:
        return _problem(404 if refusal.missing else 409, str(refusal))
    except TypeError as error:
        return _problem(400, f"The arguments do not fit: {error}")


def _problem(status: int, detail: str) -> tuple[int, bytes]:
    """Problem details (RFC 9457)."""
    return status, json.dumps({"status": status, "detail": detail}).encode()
