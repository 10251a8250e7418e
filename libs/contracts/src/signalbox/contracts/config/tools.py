"""Tools and knowledge: what a flow or a model can call."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from signalbox.contracts.base import ConfigModel, Identifier, JsonSchema, LocalizedText
from signalbox.contracts.config.http import Auth, CircuitBreaker, HttpRequest, ResponseMapping, Retry

Pin = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class McpSource(ConfigModel):
    """A tool of an MCP server (Model Context Protocol, streamable HTTP transport)."""

    url: str
    tool: str
    pin: Pin | None = None
    """SHA-256 over the tool's name, description and schema as they were approved. When the server describes it
    otherwise, calls are refused until a publisher approves the difference; none is not checked."""


class OpenApiOrigin(ConfigModel):
    """Which operation of which OpenAPI document a tool was imported from."""

    document: str = Field(default="", max_length=4000)
    """URL of the document. Tools reads it now and then, and refuses calls of an operation that has changed; one that
    was imported from a file is compared by `signalbox tools changes` only."""
    operation: str = Field(min_length=1, max_length=2000)
    """Method and path, such as ``GET /pets/{petId}``."""
    pin: Pin
    """SHA-256 over the operation's name, description, parameters and body as they were approved."""


class StatusCheck(ConfigModel):
    """The read that tells whether a write whose answer was lost was carried out."""

    tool: Identifier
    arguments: dict[str, Any] = {}
    done_when: str = "result"
    """Expression over ``result``."""


class Tool(ConfigModel):
    """One operation, with JSON-schema arguments; exactly one of ``request``, ``mcp`` and ``python`` carries it out."""

    id: Identifier
    description: str = ""
    parameters: JsonSchema = {"type": "object", "properties": {}}
    """JSON schema of the arguments that a caller, or a model, gives."""
    context: dict[str, Any] = {}
    """Arguments taken from the session, as templates: hidden from the model and not overridable by it."""
    effect: Literal["read", "write"] = "read"
    confirm: Literal["policy", "always", "never"] = "policy"
    """Whether a person confirms before a write is made. With ``always`` a flow asks by itself, unless the last thing
    that the user answered in it was a ``confirm`` step, with yes; a skill's run asks the user and waits. ``policy`` is
    for skills, by `policies.confirm_writes`: flows ask with a step."""
    summary: LocalizedText | None = None
    """What a person is shown who is asked to agree to a call: a template over ``arguments``, such as
    ``cancel order {{ arguments.order_id }}``. None shows the description and the arguments."""
    request: HttpRequest | None = None
    mcp: McpSource | None = None
    python: str | None = None
    """Name under the entry point group ``signalbox.tools``."""
    openapi: OpenApiOrigin | None = None
    """Where an imported tool comes from, and what of it was approved."""
    auth: Auth | None = None
    timeout_ms: int = Field(default=10_000, ge=1, le=300_000)
    retry: Retry = Retry()
    circuit: CircuitBreaker | None = CircuitBreaker()
    """Null for none. Of a ``request`` only."""
    idempotent: bool = False
    """Whether the service behind it honours ``Idempotency-Key``, or repeating the call does no harm."""
    status_check: StatusCheck | None = None
    response: ResponseMapping = ResponseMapping()
    cache_seconds: int = Field(default=0, ge=0, le=86_400)
    """How long a read's result may be reused for the same tenant and arguments."""

    @model_validator(mode="after")
    def _one_source(self) -> "Tool":
        given = [name for name in ("request", "mcp", "python") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of request, mcp and python")
        return self


class Knowledge(ConfigModel):
    """A source that is asked for passages to answer from."""

    id: Identifier
    description: str = ""
    tool: Identifier
    """A read tool that takes ``query`` and returns passages {text, title?, url?}."""
    when: Literal["on_demand", "before_answer", "on_fallback"] = "on_demand"
    """``on_demand`` offers the tool to every agent skill. ``before_answer`` asks it before an agent skill runs,
    ``on_fallback`` where nothing fits; skills are given the passages as data and cite them as ``[1]``, and without a
    fallback skill the best passage is the answer."""
    arguments: dict[str, Any] = {}
    """Besides ``query``, which is the message: templates over ``parameters``, ``context`` and ``vars``."""
    top_k: int = Field(default=4, ge=1, le=50)
