"""An OpenAPI document (2.0, 3.0, 3.1): its operations, its references, and where its servers are.

https://spec.openapis.org/oas/v3.1.1.html; https://swagger.io/specification/v2/.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.yaml_reader import read_yaml
from signalbox.tools.importing.definitions import Definition
from signalbox.tools.importing.errors import SourceUnusable

METHODS = ("get", "put", "post", "delete", "patch", "head")
MAX_BYTES = 32 * 1024 * 1024
_MAX_HOPS = 20
_MAX_DEPTH = 100
_MAX_NODES = 2_000_000


@record
class Operation:
    """One operation of a document; ``parameters`` are its path's joined with its own, references resolved."""

    method: str
    path: str
    content: Mapping[str, Any]
    parameters: list[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Method and path, such as ``GET /pets/{petId}``: what a document cannot have twice."""
        return f"{self.method.upper()} {self.path}"

    @property
    def tags(self) -> list[str]:
        """The groups that the document puts it in."""
        tags = self.content.get("tags")
        return [str(tag) for tag in tags] if isinstance(tags, list) else []


class OpenApiDocument:
    """A parsed document.

    ``location`` is the URL that it was read from, for relative server addresses; an empty text if it is a file.

    Raises:
        SourceUnusable: it is no OpenAPI document of a version that is read.
    """

    def __init__(self, content: Mapping[str, Any], location: str = "") -> None:
        version = str(content.get("openapi") or content.get("swagger") or "")
        if not version.startswith(("2.", "3.0", "3.1")):
            found = f"this one says {version!r}" if version else "this has neither 'openapi' nor 'swagger'"
            raise SourceUnusable(f"OpenAPI 2.0, 3.0 and 3.1 are read; {found}.")
        if not isinstance(content.get("paths"), Mapping):
            raise SourceUnusable("The document has no 'paths', so there is nothing to call.")
        self.content = content
        self.location = location
        self.is_swagger = version.startswith("2.")

    @classmethod
    def parse(cls, text: bytes, location: str = "") -> "OpenApiDocument":
        """Read a document from JSON or YAML.

        Raises:
            SourceUnusable: neither, too large, or no OpenAPI document.
        """
        if len(text) > MAX_BYTES:
            raise SourceUnusable(f"The document is larger than {MAX_BYTES // 2**20} MB.")
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            content = _yaml(text)
        if not isinstance(content, Mapping):
            raise SourceUnusable("The document is no object.")
        return cls(content, location)

    @property
    def title(self) -> str:
        """The API's name."""
        info = self.content.get("info")
        return str(info.get("title") or "API") if isinstance(info, Mapping) else "API"

    def operations(self) -> Iterator[Operation]:
        """Every operation, in the document's order."""
        for path, given in self.content["paths"].items():
            item = self.resolved(given)
            if not isinstance(item, Mapping) or not str(path).startswith("/"):
                continue
            shared = self._parameters(item)
            for method in METHODS:
                content = item.get(method)
                if isinstance(content, Mapping):
                    own = self._parameters(content)
                    yield Operation(method, str(path), content, list({**shared, **own}.values()))

    def resolved(self, node: Any) -> Any:
        """What a node stands for: itself, or what its ``$ref`` leads to.

        Raises:
            SourceUnusable: a reference leads out of the document, nowhere, or in a circle.
        """
        for _ in range(_MAX_HOPS):
            if not isinstance(node, Mapping) or not isinstance(node.get("$ref"), str):
                return node
            node = self.target(node["$ref"])
        raise SourceUnusable("A reference of the document leads in a circle.")

    def target(self, reference: str) -> Any:
        """What a reference inside the document leads to.

        Raises:
            SourceUnusable: it leads out of the document, or nowhere.
        """
        if not reference.startswith("#/"):
            raise SourceUnusable(
                f"'{reference}' leads out of the document; bundle it into one file first, then import that."
            )
        node: Any = self.content
        for part in reference[2:].split("/"):
            key = _unquoted(part)
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise SourceUnusable(f"'{reference}' leads nowhere in the document.")
        return node

    def definition(self, operation: Operation) -> Definition:
        """What the document says of an operation, in its own words: what an approval is for."""
        body = operation.content.get("requestBody")
        said = {"parameters": operation.parameters, "requestBody": body}
        components: dict[str, Any] = {}
        pending: list[Any] = [said]
        while pending:
            node = pending.pop()
            if isinstance(node, Mapping):
                reference = node.get("$ref")
                if isinstance(reference, str) and reference not in components:
                    components[reference] = self.target(reference)
                    pending.append(components[reference])
                pending += node.values()
            elif isinstance(node, list):
                pending += node
        return Definition(operation.name, self.description(operation), {**said, "components": components})

    def description(self, operation: Operation) -> str:
        """Summary and description, as one text."""
        parts = [str(operation.content.get(name) or "").strip() for name in ("summary", "description")]
        if parts[1].startswith(parts[0]):
            parts = parts[1:]
        return "\n\n".join(part for part in parts if part)

    def server(self) -> str:
        """The absolute base URL of the first server, without a slash at its end; empty where none is named."""
        url = self._swagger_server() if self.is_swagger else self._first_server()
        url = urljoin(self.location, url) if self.location else url
        return url.rstrip("/") if urlsplit(url).scheme in {"http", "https"} else ""

    def _first_server(self) -> str:
        servers = self.content.get("servers")
        first = servers[0] if isinstance(servers, list) and servers else {}
        if not isinstance(first, Mapping):
            return ""
        url = str(first.get("url") or "/")
        for name, variable in (first.get("variables") or {}).items():
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
        return url

    def _swagger_server(self) -> str:
        host, base = self.content.get("host"), str(self.content.get("basePath") or "/")
        if not host:
            return base
        schemes = self.content.get("schemes") or [urlsplit(self.location).scheme or "https"]
        return f"{'https' if 'https' in schemes else schemes[0]}://{host}{base}"

    def _parameters(self, holder: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for item in holder.get("parameters") or []:
            parameter = self.resolved(item)
            if isinstance(parameter, Mapping) and "name" in parameter and "in" in parameter:
                found[str(parameter["name"]), str(parameter["in"])] = parameter
        return found


def _yaml(text: bytes) -> Any:
    try:
        return read_yaml(text.decode(), max_depth=_MAX_DEPTH, max_nodes=_MAX_NODES)
    except (SignalboxError, UnicodeDecodeError) as error:
        raise SourceUnusable(f"The document is neither JSON nor YAML that can be read: {error}") from error


def _unquoted(part: str) -> str:
    return unquote(part).replace("~1", "/").replace("~0", "~")
