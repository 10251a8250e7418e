"""Skills: an agent with tools, or one function."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from signalbox.contracts.base import ConfigModel, Identifier, JsonSchema, LocalizedText
from signalbox.contracts.config.http import Auth, CircuitBreaker, HttpRequest, ResponseMapping, Retry
from signalbox.contracts.config.llm import ModelRole


class Budget(ConfigModel):
    """Caps that end a run with what it has."""

    tokens: int | None = Field(default=None, ge=1)
    cost: Decimal | None = Field(default=None, gt=0)
    """In the currency of the model's price."""
    seconds: float | None = Field(default=None, gt=0, le=3600)
    tool_calls: int | None = Field(default=None, ge=0)


class Subtask(ConfigModel):
    """A skill that this skill may start as a part of its own work."""

    id: Identifier
    skill: Identifier
    description: str = ""
    arguments: dict[str, Any] = {}
    budget: Budget = Budget()


class Approval(ConfigModel):
    """Tools that wait for a person before they run."""

    tools: list[Identifier] = []
    by: Literal["user", "operator"] = "user"


class SkillHistory(ConfigModel):
    """What a skill is shown of its own earlier turns in the session, beside their texts."""

    tool_results: int = Field(default=12_000, ge=0, le=200_000)
    """Tokens, estimated, of its earlier tool calls with their results: the newest whole, older ones shortened. 0 keeps
    and shows none."""


class AgentSkill(ConfigModel):
    """A model that works in steps, with tools, until it is done."""

    mode: Literal["agent"]
    id: Identifier
    description: str = ""
    direct: bool = False
    """Whether a client may address it (``skill`` of a query), past intents and without the procedure."""
    instructions: str = Field(min_length=1)
    tools: list[Identifier] = []
    subtasks: list[Subtask] = []
    subtask_order: Literal["parallel", "sequence"] = "parallel"
    model_role: ModelRole = "answer"
    max_steps: int = Field(default=8, ge=1, le=100)
    """Model calls in one run."""
    parallel_tool_calls: bool = True
    budget: Budget = Budget()
    history: SkillHistory = SkillHistory()
    approval: Approval = Approval()
    output_schema: JsonSchema | None = None
    """The final answer is JSON of this schema; none means plain text."""
    reply: LocalizedText | None = None
    """Template over ``output``, for a skill with an output schema."""


class FunctionSkill(ConfigModel):
    """One call: an HTTP endpoint or a function registered under the entry point ``signalbox.functions``."""

    mode: Literal["function"]
    id: Identifier
    description: str = ""
    direct: bool = False
    """Whether a client may address it (``skill`` of a query), past intents and without the procedure."""
    endpoint: HttpRequest | None = None
    function: str | None = None
    auth: Auth | None = None
    timeout_ms: int = Field(default=10_000, ge=1, le=300_000)
    retry: Retry = Retry()
    circuit: CircuitBreaker | None = CircuitBreaker()
    """Null for none. Of an ``endpoint`` only."""
    idempotent: bool = False
    response: ResponseMapping = ResponseMapping()
    input_schema: JsonSchema = {"type": "object"}
    output_schema: JsonSchema | None = None
    reply: LocalizedText | None = None
    """Template over ``output``; none shows the output's ``message`` member or the output as JSON."""

    @model_validator(mode="after")
    def _one_source(self) -> "FunctionSkill":
        if (self.endpoint is None) == (self.function is None):
            raise ValueError("give exactly one of endpoint and function")
        return self


Skill = Annotated[AgentSkill | FunctionSkill, Field(discriminator="mode")]
