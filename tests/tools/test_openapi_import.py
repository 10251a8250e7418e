"""Documents of others become tools that validate, and calls of them reach a real server as the documents say."""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from support.probe_backend import ProbeBackend, Received
from support.tool_bench import TOKEN, ToolBench

from signalbox.tools.importing.imported import Imported
from signalbox.tools.importing.openapi_document import OpenApiDocument
from signalbox.tools.importing.openapi_tools import OpenApiOptions, chosen, tools_of

DOCUMENTS = Path(__file__).parent / "documents"


@pytest.fixture(scope="module")
def backend() -> Iterator[ProbeBackend]:
    with ProbeBackend() as running:
        yield running


def read(name: str) -> OpenApiDocument:
    return OpenApiDocument.parse((DOCUMENTS / name).read_bytes())


def imported(document: OpenApiDocument, server: str, *names: str, **options: str) -> Imported:
    return tools_of(
        document, chosen(document, names, [], reads_only=False), OpenApiOptions(server=server, **options)
    )


def litellm() -> OpenApiDocument:
    """LiteLLM's proxy, which ships its routes in groups, each with the components that it needs."""
    found = find_spec("litellm")
    assert found is not None
    assert found.origin is not None
    parts = json.loads((Path(found.origin).parent / "proxy" / "_lazy_openapi_snapshot.json").read_bytes())
    whole: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "LiteLLM"}, "paths": {}, "components": {}}
    for part in parts.values():
        for path, item in part["paths"].items():
            whole["paths"].setdefault(path, {}).update(item)
        for kind, components in part.get("components", {}).items():
            whole["components"].setdefault(kind, {}).update(components)
    return OpenApiDocument(whole)


def example(schema: Any, defs: Any, depth: int = 0) -> Any:
    """A value that fits a schema; only what is required is in it."""
    if not isinstance(schema, dict) or depth > 8:
        return "x"
    if "$ref" in schema:
        return example(defs[schema["$ref"].rsplit("/", 1)[-1]], defs, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return example(schema[keyword][0], defs, depth + 1)
    if "const" in schema or schema.get("enum"):
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        made = {name: example(properties.get(name), defs, depth + 1) for name in schema.get("required", [])}
        if not made and schema.get("minProperties"):
            made = {"a": example(schema.get("additionalProperties", {}), defs, depth + 1)}
        return made
    if kind == "array":
        return [example(schema.get("items", {}), defs, depth + 1)]
    if "pattern" in schema:
        return next(text for text in ("abc", "a" * 64, "1", "A-1") if re.search(schema["pattern"], text))
    numbers = {"integer": 7, "number": 7.5, "boolean": True, "null": None}
    return numbers.get(str(kind), "a b/c".ljust(schema.get("minLength", 1), "x"))


@pytest.mark.parametrize(
    ("document", "operations"),
    [
        (read("petstore-2.0.json"), 20),
        (read("petstore-3.0.yaml"), 20),
        (read("security-3.0.yaml"), 15),
        (read("parameters-style-3.0.yaml"), 25),
        (litellm(), 400),
    ],
    ids=["petstore-2.0", "petstore-3.0", "security-3.0", "parameters-3.0", "litellm-3.1"],
)
async def test_every_operation_is_called_as_its_document_says(
    document: OpenApiDocument, operations: int, backend: ProbeBackend
) -> None:
    """Method, path, required query, headers and body of every operation that could be imported, on the wire."""
    made = imported(document, f"{backend.url}/api")
    every = {operation.name: operation for operation in document.operations()}
    left_out = [note for note in made.notes if note.detail.startswith("left out")]
    assert len(every) >= operations
    assert len(made.tools) + len(left_out) == len(every)
    assert len(left_out) <= len(every) // 20, left_out
    for tool in made.tools:
        tool["retry"] = {"attempts": 1}
        if tool.get("auth", {}).get("type") == "oauth2":
            tool["auth"]["token_url"] = f"{backend.url}/token"
    async with ToolBench(made.tools, made.variables) as bench:
        for tool in made.tools:
            schema = tool["parameters"]
            arguments = example(schema, schema.get("$defs", {}))
            reply = await bench.call(tool["id"], **arguments)
            if tool.get("auth", {}).get("type") == "oauth2":
                assert backend.last().path == "/token"
                assert not reply.ok  # there is none to be had
                continue
            assert reply.ok, (tool["id"], reply.error, arguments)
            operation = every[tool["openapi"]["operation"]]
            assert_sent(backend.last(), operation, arguments)


def assert_sent(sent: Received, operation: Any, arguments: dict[str, Any]) -> None:
    path = operation.path
    url = urlsplit(sent.path)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    for parameter in operation.parameters:
        name = parameter["name"]
        value = arguments.get(name, arguments.get(name.replace("-", "_")))
        if parameter["in"] == "path" and not isinstance(value, list | dict) and value is not None:
            path = path.replace(f"{{{name}}}", quote(text_of(value), safe=""))
        elif parameter.get("required") and value is not None and not isinstance(value, list | dict):
            place = {"query": query, "header": sent.headers}.get(parameter["in"], {})
            found = place.get(name if parameter["in"] == "query" else name.lower())
            assert parameter["in"] in {"body", "formData", "cookie"} or found == text_of(value), (
                operation.name,
                name,
            )
    assert sent.method == operation.method.upper()
    if "{" not in path and not any(isinstance(value, list | dict) for value in arguments.values()):
        assert url.path == "/api" + path.partition("#")[0]
    if "body" in arguments and sent.headers.get("content-type") == "application/json":
        assert json.loads(sent.body) == arguments["body"]


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def test_petstore_in_detail(backend: ProbeBackend) -> None:
    made = imported(read("petstore-2.0.json"), backend.url)
    tools = {tool["id"]: tool for tool in made.tools}
    assert (tools["addPet"]["effect"], tools["getPetById"]["effect"]) == ("write", "read")
    assert tools["deletePet"]["idempotent"] is True
    assert "idempotent" not in tools["addPet"]
    async with ToolBench(made.tools, made.variables) as bench:
        pet = {"name": "Rex", "photoUrls": [], "category": {"id": 1, "name": "dogs"}}
        assert (await bench.call("addPet", body=pet)).ok
        sent = backend.last()
        assert (sent.method, sent.path, json.loads(sent.body)) == ("POST", "/pet", pet)
        assert sent.headers["authorization"] == f"Bearer {TOKEN}"
        assert sent.headers["idempotency-key"] == "turn_1/2"
        await bench.call("getPetById", petId=7)
        assert (backend.last().path, backend.last().headers["api_key"]) == ("/pet/7", TOKEN)
        await bench.call("findPetsByStatus", status=["sold", "pending"])
        assert backend.last().path == "/pet/findByStatus?status=sold&status=pending"
        await bench.call("updatePetWithForm", petId=7, name="Max & Co")
        sent = backend.last()
        assert (sent.body, sent.headers["content-type"]) == (
            "name=Max%20%26%20Co",
            "application/x-www-form-urlencoded",
        )
        for wrong in ({"petId": "seven"}, {}, {"petId": 7, "more": 1}):
            assert (await bench.call("getPetById", **wrong)).error.code == "invalid_arguments"


async def test_an_oauth2_client_gets_a_token_of_its_document(backend: ProbeBackend) -> None:
    """Client credentials: the token URL, the scopes and the client are the document's and the options'."""
    document = read("security-3.0.yaml")
    name = next(
        operation.name
        for operation in document.operations()
        if tools_of(document, [operation], OpenApiOptions(server="https://x.example"))
        .tools[0]
        .get("auth", {})
        .get("type")
        == "oauth2"
    )
    made = imported(document, backend.url, name, client_id="shop-7")
    auth = made.tools[0]["auth"]
    assert auth["client_id"] == "shop-7"
    assert auth["client_secret"].startswith("secret:")
    assert not made.notes
    token_path = "/token" + urlsplit(auth["token_url"]).path
    auth["token_url"] = backend.url + token_path
    async with ToolBench([{**made.tools[0], "retry": {"attempts": 1}}], made.variables) as bench:
        await bench.call(made.tools[0]["id"])
    form = dict(parse_qsl(backend.received(token_path)[-1].body))
    assert form["grant_type"] == "client_credentials"
    assert form.get("scope", "").split() == auth.get("scopes", [])
