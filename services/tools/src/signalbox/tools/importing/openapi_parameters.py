"""From the parameters and the body of an OpenAPI operation to the arguments and the request template of a tool."""

import re
from collections.abc import Mapping
from typing import Any

from signalbox.tools.importing.errors import OperationUnusable
from signalbox.tools.importing.names import free, identifier
from signalbox.tools.importing.openapi_document import OpenApiDocument, Operation
from signalbox.tools.importing.openapi_schemas import ArgumentSchemas

_FORM = "application/x-www-form-urlencoded"
_PLACE = re.compile(r"\{([^{}]+)\}")
_SET_BY_US = frozenset({"accept", "authorization", "content-type", "idempotency-key"})
"""Header parameters that the specification says to ignore, and the one that Tools sends with every write."""
_DELIMITERS = {"csv": ",", "ssv": " ", "tsv": "\t", "pipes": "|", "spaceDelimited": " ", "pipeDelimited": "|"}


class RequestDraft:
    """The arguments of a tool and where each goes; filled by reading an operation.

    Raises:
        OperationUnusable: something that the operation needs cannot be sent.
        SourceUnusable: a reference leads nowhere.
    """

    def __init__(self, document: OpenApiDocument, operation: Operation) -> None:
        self._document = document
        self._schemas = ArgumentSchemas(document)
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []
        self._places: dict[str, str] = {}
        self._query: dict[str, Any] = {}
        self._headers: dict[str, str] = {}
        self._body: Any = None
        self._body_format = "json"
        self.takes_key = False
        """Whether the operation declares an ``Idempotency-Key``, so that it honours one."""
        for parameter in operation.parameters:
            self._take(parameter)
        self._take_body(operation)
        self._path = _PLACE.sub(self._place, operation.path)
        self._method = operation.method.upper()

    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        schema: dict[str, Any] = {"type": "object", "properties": self._properties}
        if self._required:
            schema["required"] = self._required
        return {**self._schemas.completed(schema), "additionalProperties": False}

    def request(self, server: str) -> dict[str, Any]:
        """The request template, its path put after ``server``."""
        request: dict[str, Any] = {"method": self._method, "url": f"{server}{self._path}"}
        if self._query:
            request["query"] = self._query
        if self._headers:
            request["headers"] = self._headers
        if self._body is not None:
            request["body"] = self._body
        if self._body_format != "json":
            request["body_format"] = self._body_format
        return request

    def _take(self, parameter: Mapping[str, Any]) -> None:
        name, location = str(parameter["name"]), parameter["in"]
        if location == "body":
            self._json_body(parameter.get("schema"), required=parameter.get("required") is True)
        elif location == "formData":
            self._form_field(name, parameter, required=parameter.get("required") is True)
        elif location == "path":
            self._places[name] = self._template(name, parameter, required=True)
        elif location == "query":
            self._take_query(name, parameter)
        elif location == "header":
            self._take_header(name, parameter)
        elif parameter.get("required") is True:
            raise OperationUnusable(f"it needs '{name}' in a cookie, which tools do not send.")

    def _take_query(self, name: str, parameter: Mapping[str, Any]) -> None:
        schema = self._document.resolved(parameter.get("schema"))
        members = schema.get("properties") if isinstance(schema, Mapping) else None
        style, explode = parameter.get("style", "form"), parameter.get("explode")
        exploded = style == "deepObject" or (style == "form" and explode is not False)
        required = parameter.get("required") is True
        if not (isinstance(members, Mapping) and members and exploded and "content" not in parameter):
            self._query[name] = self._template(name, parameter, required=required)
            return
        argument = self._argument(name, parameter, required=required)
        for member in members:
            sent = f"{name}[{member}]" if style == "deepObject" else str(member)
            holder = f"arguments.{argument}" if required else f"(arguments.{argument} | default({{}}))"
            self._query[sent] = f"{{{{ {holder}[{_quoted(str(member))}] | default(none) }}}}"

    def _take_header(self, name: str, parameter: Mapping[str, Any]) -> None:
        if name.lower() == "idempotency-key":
            self.takes_key = True
        if name.lower() not in _SET_BY_US:
            required = parameter.get("required") is True
            self._headers[name] = self._template(name, parameter, required=required)

    def _take_body(self, operation: Operation) -> None:
        body = self._document.resolved(operation.content.get("requestBody"))
        content = body.get("content") if isinstance(body, Mapping) else None
        if not isinstance(content, Mapping) or not content:
            return
        required = body.get("required") is True
        by_type = {str(kind).split(";")[0].strip().lower(): media for kind, media in content.items()}
        for kind, media in by_type.items():
            if kind == "application/json" or kind.endswith("+json") or kind == "*/*":
                self._json_body(_schema_of(media), required=required)
                if kind.endswith("+json"):
                    self._headers["Content-Type"] = kind
                return
        if _FORM in by_type:
            self._form_body(_schema_of(by_type[_FORM]))
        elif "text/plain" in by_type:
            self._json_body(_schema_of(by_type["text/plain"]), required=required)
            self._body_format = "text"
        elif required:
            raise OperationUnusable(f"its body is {' or '.join(by_type)}; tools send JSON, forms and text.")

    def _json_body(self, schema: Any, *, required: bool) -> None:
        argument = self._added("body", self._schemas.translated(schema), required=required)
        self._body = _placeholder(argument, required=required)

    def _form_body(self, schema: Any) -> None:
        meant = self._document.resolved(schema)
        properties = meant.get("properties") if isinstance(meant, Mapping) else None
        wanted = meant.get("required") if isinstance(meant, Mapping) else None
        for name, member in (properties or {}).items():
            self._form_field(str(name), {"schema": member}, required=name in (wanted or []))

    def _form_field(self, name: str, parameter: Mapping[str, Any], *, required: bool) -> None:
        schema = self._document.resolved(parameter.get("schema", parameter))
        if isinstance(schema, Mapping) and (schema.get("type") == "file" or schema.get("format") == "binary"):
            if required:
                raise OperationUnusable(f"it needs the file '{name}', and tools send no files.")
            return
        self._body_format = "form"
        self._body = {**(self._body or {}), name: self._template(name, parameter, required=required)}

    def _template(self, name: str, parameter: Mapping[str, Any], *, required: bool) -> str:
        argument = self._argument(name, parameter, required=required)
        delimiter = self._delimiter(parameter)
        if delimiter is None:
            return _placeholder(argument, required=required)
        joined = f"arguments.{argument} | join({_quoted(delimiter)})"
        if required:
            return f"{{{{ {joined} }}}}"
        return f"{{{{ {joined} if arguments.{argument} is defined else none }}}}"

    def _delimiter(self, parameter: Mapping[str, Any]) -> str | None:
        """What a list is joined with; None where it is no list, or is repeated."""
        schema = self._document.resolved(parameter.get("schema", parameter))
        if not isinstance(schema, Mapping) or schema.get("type") != "array":
            return None
        if self._document.is_swagger:
            form = str(parameter.get("collectionFormat", "csv"))
            return None if form == "multi" else _DELIMITERS.get(form, ",")
        location = parameter.get("in", "query")
        style = str(parameter.get("style") or ("form" if location == "query" else "simple"))
        if style in _DELIMITERS:
            return _DELIMITERS[style]
        repeated = location == "query" and parameter.get("explode") is not False
        return None if repeated else ","

    def _argument(self, name: str, parameter: Mapping[str, Any], *, required: bool) -> str:
        schema = parameter.get("schema")
        if schema is None and isinstance(parameter.get("content"), Mapping):
            schema = next((_schema_of(media) for media in parameter["content"].values()), None)
        if schema is None:
            schema = {
                key: value for key, value in parameter.items() if key not in {"required", "description"}
            }
        translated = self._schemas.translated(schema)
        description = parameter.get("description")
        if isinstance(description, str) and description and isinstance(translated, dict):
            translated = {**translated, "description": description}
        return self._added(name, translated, required=required)

    def _added(self, name: str, schema: Any, *, required: bool) -> str:
        argument = free(identifier(name, "arg"), self._properties)
        self._properties[argument] = schema
        if required:
            self._required.append(argument)
        return argument

    def _place(self, found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in self._places:
            # Documents forget to declare them; the path cannot be called without.
            self._places[name] = _placeholder(
                self._added(name, {"type": "string"}, required=True), required=True
            )
        return self._places[name]


def _placeholder(argument: str, *, required: bool) -> str:
    return (
        f"{{{{ arguments.{argument} }}}}" if required else f"{{{{ arguments.{argument} | default(none) }}}}"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t")
    return f"'{escaped}'"


def _schema_of(media: Any) -> Any:
    return media.get("schema") if isinstance(media, Mapping) else None
