"""The workflow config: one document that says what an assistant does."""

from typing import Any, Literal

from pydantic import Field

from signalbox.contracts.base import ConfigModel, Identifier, LanguageTag, LocalizedText
from signalbox.contracts.config import (
    Action,
    Flow,
    Intent,
    Knowledge,
    LlmConfig,
    Policies,
    Skill,
    Timer,
    Tool,
)

SCHEMA_VERSION = "1"


class Persona(ConfigModel):
    """Who the assistant is."""

    background: str = ""
    tone: str = ""


class Instructions(ConfigModel):
    """What guides decisions made by a model."""

    procedure: str = ""
    """The standard operating procedure, in prose or as a list."""
    constraints: list[str] = []
    """What must never happen."""


class WorkflowConfig(ConfigModel):
    """One assistant: what it recognises, what it does, and how it behaves when things are unclear."""

    schema_version: Literal["1"] = "1"
    workflow_id: Identifier
    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    languages: list[LanguageTag] = Field(default=["en"], min_length=1)
    """Languages that it speaks; the first is the default."""
    persona: Persona = Persona()
    greeting: LocalizedText | None = None
    """Sent before the answer on the first turn, never instead of it."""
    variables: dict[Identifier, str | int | float | bool] = {}
    """Constants for templates (``vars.NAME``), such as base URLs; an operator's setting may override each."""
    instructions: Instructions = Instructions()
    intents: list[Intent] = []
    flows: list[Flow] = []
    skills: list[Skill] = []
    tools: list[Tool] = []
    actions: list[Action] = []
    timers: list[Timer] = []
    knowledge: list[Knowledge] = []
    llm: LlmConfig = LlmConfig()
    policies: Policies = Policies()

    @property
    def default_language(self) -> str:
        """The language used when a turn asks for none, or for one that is not spoken."""
        return self.languages[0]


def config_json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the document, as editors use it: unknown properties are errors."""
    schema = WorkflowConfig.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        if part.get("type") == "object" and "properties" in part:
            part["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Signalbox workflow",
        **schema,
    }
