"""One tool of a workflow file, called from the command line by what the service itself calls tools with."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import SecretStr

from signalbox.common.documents import config_hash, parse
from signalbox.common.errors import BadRequest, NotFound, ValidationFailed
from signalbox.common.functions import TOOLS_GROUP, installed_functions
from signalbox.common.ids import new_id, now_ms
from signalbox.common.platform import Platform
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.validation import validate
from signalbox.contracts.config import Tool
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import DEFAULT_TENANT
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.app import wire
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.registry import Registry
from signalbox.tools.settings import ToolsSettings

_SUBJECT = "command-line"


class BadWorkflowFile(ValidationFailed):
    """The file is no valid workflow. The pointers of ``errors`` are into it."""

    code = "invalid_document"


class NoSuchTool(NotFound):
    """The workflow has no tool of this name."""

    code = "tool_not_found"


class BadArgument(BadRequest):
    """Something that should be NAME=VALUE is not."""

    code = "bad_argument"


class _OneRegistry:
    """The registry of the file, whatever hash is asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def get(self, tenant: str, config_hash: str) -> Registry:  # noqa: ARG002 - as in ``Registries``
        """The one there is."""
        return self._registry


class ToolOfFile:
    """A tool of a valid workflow, with its name's own place in the document."""

    def __init__(self, config: WorkflowConfig, tool: Tool, hash_of_config: str) -> None:
        self._config = config
        self._tool = tool
        self._hash = hash_of_config

    @classmethod
    def read(cls, file: Path, name: str) -> Self:
        """The tool ``name`` of a workflow file.

        Raises:
            BadWorkflowFile: the file is no valid workflow.
            NoSuchTool: it has no tool of this name.
        """
        document = parse(file.read_bytes())
        result = validate(document)
        if result.config is None or result.errors:
            raise BadWorkflowFile(f"{file} is no valid workflow:", errors=result.errors)
        for tool in result.config.tools:
            if tool.id == name:
                return cls(result.config, tool, config_hash(document)[0])
        known = ", ".join(tool.id for tool in result.config.tools) or "none"
        raise NoSuchTool(f"{file} has no tool '{name}'; its tools: {known}.")

    @property
    def writes(self) -> bool:
        """Whether calling it may change something."""
        return self._tool.effect == "write"

    def arguments(self, given: Sequence[str]) -> dict[str, Any]:
        """Arguments from texts NAME=VALUE. What the tool wants as text stays text, the rest is JSON where it can be.

        Raises:
            BadArgument: one has no ``=``.
        """
        properties = self._tool.parameters.get("properties", {})
        arguments: dict[str, Any] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if not (name and equals):
                raise BadArgument(f"Write arguments as NAME=VALUE; {text!r} is none.")
            schema = properties.get(name)
            is_text = isinstance(schema, dict) and schema.get("type") == "string"
            arguments[name] = value if is_text else _value(value)
        return arguments

    async def call(
        self, arguments: dict[str, Any], *, user: str | None, language: str, dry_run: bool
    ) -> ToolCallReply:
        """Call it once. Secrets, variables and allowed hosts are those of the settings, as for the service."""
        # Nothing of this call is shared with other processes, nor left behind.
        alone = {"redis_url": None, "service_secret": SecretStr(secrets.token_urlsafe())}
        settings = ToolsSettings().model_copy(update=alone)
        registry = Registry(self._config, settings.variables, installed_functions(TOOLS_GROUP))
        request = ToolCallRequest(
            context=CallContext(
                tenant=DEFAULT_TENANT,
                subject=_SUBJECT,
                workflow_id=self._config.workflow_id,
                config_hash=self._hash,
                session_id=new_id("session"),
                user_id=user,
                turn_id=new_id("turn"),
                language=language,
                now_ms=now_ms(),
            ),
            tool=self._tool.id,
            arguments=arguments,
            idempotency_key=new_id("call"),
            dry_run=dry_run,
        )
        async with Platform.from_settings(settings) as platform:
            calls = wire(platform, _OneRegistry(registry), ToolMetrics(Metrics("tools")))
            return await calls.call(request)


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
