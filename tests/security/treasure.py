"""What a tenant has that nobody else may see, planted, and the ways to name it in a request of any endpoint."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import httpx
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish
from support.waiting import eventually

MARK = "hoard-7fb2"
"""Stands in every message and document that is planted, and in nothing that an attacker sends."""

USER, RULE = "somebody", "roomy"
_MAX_DEPTH = 6


@dataclass
class Treasure:
    """Ids of the first tenant by the names that paths, queries and bodies have for them."""

    ids: dict[str, str] = field(default_factory=dict)

    def fill(self, path: str) -> str:
        """A path with its parameters filled in; AssertionError for one that nothing is planted for."""
        for name, value in self.ids.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, f"{path}: plant something of the first tenant for this parameter"
        return path


def _document(workflow: str, backend: str) -> dict[str, Any]:
    """A workflow that answers, and one of whose skills waits for an operator before it writes."""
    return {
        "workflow_id": workflow,
        "name": f"Plans {MARK}",
        "intents": [
            {"id": "x", "when": {"keywords": ["treasure"]}, "then": {"reply": MARK}},
            {"id": "bury", "when": {"keywords": ["bury"]}, "then": {"skill": "digger"}},
        ],
        "skills": [
            {
                "id": "digger",
                "mode": "agent",
                "description": "Buries.",
                "instructions": "Bury it.",
                "tools": ["bury"],
                "approval": {"tools": ["bury"], "by": "operator"},
            }
        ],
        "tools": [
            {
                "id": "bury",
                "description": "Buries it.",
                "effect": "write",
                "request": {"method": "POST", "url": f"{backend}/buried"},
            }
        ],
        "llm": {"answer": {"model": "fake-model"}},
    }


def plant(system: RunningSystem, operator: PublicApi) -> Treasure:
    """Let the first tenant have one of everything."""
    workflow = new_session("wf")
    document = _document(workflow, system.backend.url)
    snapshot: Any = publish(operator, document, message=MARK)["snapshot"]
    session = new_session()
    said = {"message": f"treasure {MARK}", "workflow_id": workflow, "user_id": USER}
    turn = operator.query(session=session, **said)
    bury = {"message": f"bury {MARK}", "workflow_id": workflow, "user_id": USER}
    system.provider.script(
        [{"match": {"last_user_contains": bury["message"]}, "reply": {"tool_calls": [{"name": "bury"}]}}]
    )
    waits = operator.query(session=new_session(), **bury)
    system.provider.script([])
    hook = f"{system.backend.url}/hook/{new_session()}"
    task = operator.call(
        "POST", "/api/v1/query/async", json={**said, "session_id": new_session(), "webhook": {"url": hook}}
    )
    batch = operator.call(
        "POST", "/api/v1/query/batch", json={"items": [{**said, "session_id": new_session()}]}
    )
    schedule = operator.call("POST", "/api/v1/schedules", json={**said, "name": MARK, "cron": "0 8 1 1 *"})
    key = operator.call("POST", "/admin/api/v1/keys", json={"name": MARK, "scopes": ["query"]})
    asked = operator.http.post("/llm/v1/responses", json={"model": "fake-model", "input": MARK})
    operator.call("PUT", f"/llm/v1/limits/{RULE}", json={"of": "user", "requests": 1_000_000})
    budget = {"of": "user", "amount": "1000000", "window": "day", "hard": False}
    operator.call("PUT", f"/llm/v1/budgets/{RULE}", json=budget)

    def webhook() -> str | None:
        found = operator.call("GET", "/api/v1/webhooks", params={"limit": 100})["items"]
        return next((one["webhook_id"] for one in found if one["url"] == hook), None)

    return Treasure(
        {
            "session_id": session,
            "turn_id": turn["turn_id"],
            "user_id": USER,
            "workflow_id": workflow,
            "config_hash": snapshot["config_hash"],
            "task_id": task["task_id"],
            "batch_id": batch["batch_id"],
            "schedule_id": schedule["schedule_id"],
            "pause_id": waits["pause_id"],
            "webhook_id": eventually(webhook, "the task's webhook is there", 20.0),
            "key_id": key["key_id"],
            "response_id": asked.json()["id"],
            "call_id": asked.headers["signalbox-llm-call-id"],
            "limit_name": RULE,
            "budget_name": RULE,
            "model": "fake-model",
            "tenant": "acme",
        }
    )


LEFT = (
    "session_id",
    "turn_id",
    "pause_id",
    "task_id",
    "batch_id",
    "schedule_id",
    "config_hash",
    "response_id",
)
"""What is looked at to see that nobody has changed anything."""


def state(operator: PublicApi, treasure: Treasure) -> dict[str, Any]:
    """What the first tenant sees of its own, for comparison."""
    ids = treasure.ids
    paths = {
        "session_id": f"/api/v1/session/{ids['session_id']}/export?user_id={USER}",
        "turn_id": f"/api/v1/turn/{ids['turn_id']}?user_id={USER}",
        "pause_id": f"/api/v1/paused-runs/{ids['pause_id']}",
        "task_id": f"/api/v1/task/{ids['task_id']}",
        "batch_id": f"/api/v1/batch/{ids['batch_id']}/items",
        "schedule_id": f"/api/v1/schedules/{ids['schedule_id']}",
        "config_hash": f"/admin/api/v1/snapshots/{ids['config_hash']}",
        "response_id": f"/llm/v1/responses/{ids['response_id']}",
        "rules": "/llm/v1/limits",
        "workflows": "/admin/api/v1/releases?limit=200",
    }
    found = {name: operator.http.get(path) for name, path in paths.items()}
    wrong = {name: answer.text for name, answer in found.items() if answer.status_code != 200}
    assert not wrong, wrong
    keys = operator.call("GET", "/admin/api/v1/keys", params={"limit": 200})["items"]
    mine = [key for key in keys if key["key_id"] == ids["key_id"]]
    return {**{name: _lasting(answer.json()) for name, answer in found.items()}, "key": _lasting(mine)}


def _lasting(value: Any) -> Any:
    """A value without the moments in it that pass by themselves."""
    if isinstance(value, dict):
        passing = {"last_used_at", "exported_at", "next_run_at"}
        return {name: _lasting(inner) for name, inner in value.items() if name not in passing}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Operation:
    """One described operation and where it is."""

    service: str
    base: str
    method: str
    path: str
    described: Mapping[str, Any]
    schemas: Mapping[str, Any]

    @property
    def public(self) -> bool:
        """Whether it needs no credential."""
        return self.described.get("x-public") is True

    @property
    def internal(self) -> bool:
        """Whether it is a call between services."""
        return self.path.startswith("/internal/")

    def query(self, treasure: Treasure) -> dict[str, str]:
        """Its query parameters that can name something of the first tenant."""
        names = (part["name"] for part in self.described.get("parameters", []) if part["in"] == "query")
        return {name: treasure.ids[name] for name in names if name in treasure.ids}

    def body(self, treasure: Treasure) -> Any:
        """A body that fits its description and names what is the first tenant's wherever it can; None for none."""
        content = self.described.get("requestBody", {}).get("content", {}).get("application/json")
        return None if content is None else self._value(content["schema"], treasure, "", 0)

    def _value(self, schema: Mapping[str, Any], treasure: Treasure, name: str, depth: int) -> Any:
        if "$ref" in schema:
            return self._value(self.schemas[schema["$ref"].rsplit("/", 1)[-1]], treasure, name, depth)
        known = self._known(schema, treasure, name)
        if known is not None:
            return known
        for choice in (*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])):
            if choice.get("type") != "null":
                return self._value(choice, treasure, name, depth)
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, treasure, depth)
        if kind == "array":
            return [self._value(schema.get("items", {}), treasure, name.removesuffix("s"), depth + 1)]
        return {"string": "what is there?", "integer": 1, "number": 1, "boolean": False}.get(str(kind))

    def _known(self, schema: Mapping[str, Any], treasure: Treasure, name: str) -> Any:
        fitting = {**treasure.ids, "previous_response_id": treasure.ids["response_id"], "model": "fake-model"}
        if name in fitting and schema.get("type", "string") == "string":
            return fitting[name]
        usual = {"messages": [{"role": "user", "content": "what?"}], "input": "what?", "cron": "0 8 1 1 *"}
        if name in usual:
            return usual[name]
        if "const" in schema or "enum" in schema:
            return schema.get("const", next(iter(schema.get("enum", [None]))))
        return schema.get("default") if schema.get("default") not in (None, "", [], {}) else None

    def _object(self, schema: Mapping[str, Any], treasure: Treasure, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            return {}
        needed = set(schema.get("required", ()))
        named = {name for name in schema.get("properties", {}) if name in treasure.ids or name == "items"}
        properties = schema.get("properties", {})
        return {
            name: self._value(properties.get(name, {}), treasure, name, depth + 1) for name in needed | named
        }


def operations(system: RunningSystem) -> Iterator[Operation]:
    """Every operation that the system describes, at the edge where it is public, else at its service."""
    bases = system.service_urls() or {"": system.url}
    for service, base in bases.items():
        document = httpx.get(f"{base}/openapi.json", timeout=20).json()
        schemas = document["components"]["schemas"]
        for path, methods in document["paths"].items():
            if path in {"/live", "/ready", "/metrics"}:
                continue
            for method, described in methods.items():
                where = base if path.startswith("/internal/") else system.url
                yield Operation(service, where, method.upper(), path, described, schemas)


def hostile_names(ids: Mapping[str, str]) -> list[str]:
    """Guesses at an id that is known up to something: neighbours, fragments, patterns, other spellings, ways around."""
    return list(chain.from_iterable(_around(value) for value in ids.values()))


def _around(value: str) -> Iterator[str]:
    head, last = value[:-1], value[-1]
    yield from (head + digit for digit in "0123456789abcdef" if digit != last)
    yield from (value.upper(), head, value + "0", value[: len(value) // 2] + "%", "%", "_" * len(value), "*")
    yield from (f"{value}%00", f"{value}%20", f"%20{value}", f"{value}'--", f"{value}%2e", f"..%2f{value}")
