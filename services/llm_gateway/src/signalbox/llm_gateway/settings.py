"""Settings of the LLM Gateway, beside those that every service has."""

from functools import cached_property
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from signalbox.common.settings import CommonSettings
from signalbox.contracts.config.llm import ModelRole
from signalbox.llm_gateway.deployments import OPENAI_URL, Deployment
from signalbox.llm_gateway.gateway_file import GatewayFile
from signalbox.llm_gateway.policies.keys import KeySpec
from signalbox.llm_gateway.policies.rules import WhenUnavailable
from signalbox.llm_gateway.routing.rules import ModelRoute


class GatewaySettings(CommonSettings):
    """Which models there are, and which of them plays which role."""

    model_config = SettingsConfigDict(hide_input_in_errors=True)

    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("SIGNALBOX_OPENAI_API_KEY", "OPENAI_API_KEY", "openai_api_key"),
    )
    """Offers every model of the server at ``openai_base_url``."""
    openai_base_url: str = Field(
        default=OPENAI_URL,
        validation_alias=AliasChoices("SIGNALBOX_OPENAI_BASE_URL", "OPENAI_BASE_URL", "openai_base_url"),
    )
    """An OpenAI-compatible server; another than OpenAI's own needs no key and is asked for its models."""
    llm_deployments: list[Deployment] = []
    """JSON list of deployments; see ``Deployment``."""
    llm_models: list[ModelRoute] = []
    """JSON list of rules by which calls for a model are routed; see ``ModelRoute``."""
    llm_deployments_file: Path | None = None
    """YAML or JSON file with deployments, models, limits, budgets, keys and prices; see ``GatewayFile``."""
    llm_keys: list[KeySpec] = []
    """JSON list of API keys, for a gateway without Admin; see ``KeySpec``."""
    ollama_url: str = "http://127.0.0.1:11434"
    """An Ollama that answers here at start is offered; empty: do not look for one."""
    model: str | None = None
    """Default model of the roles match, decide and answer."""
    model_match: str | None = None
    """Default model that names intents."""
    model_decide: str | None = None
    """Default model that plans."""
    model_answer: str | None = None
    """Default model that writes answers and calls tools."""
    model_embed: str | None = None
    """Default model of embeddings."""
    llm_max_body_bytes: int = Field(default=33_554_432, ge=1024)
    """A larger model call is answered with 413; images are sent inside it."""
    llm_lane: bool = True
    """Whether chat completions and embeddings take the fast lane; without it they are served like everything else."""
    llm_head_timeout_s: float = Field(default=20, gt=0, le=3600)
    """Seconds within which the head of a request must have come; then the connection is closed (408). With the lane."""
    llm_body_timeout_s: float = Field(default=120, gt=0, le=3600)
    """Seconds within which the body of a request must have come after its head; then as above."""
    llm_record_content: bool = False
    """Whether spans of model calls hold what was said, with secrets, e-mail addresses and card numbers taken out."""
    responses_kept_days: int = Field(default=30, ge=1)
    """Days for which responses of the Responses API can be read and continued; then they are deleted."""
    responses_max_background: int = Field(default=256, ge=1)
    """Background responses that one process works on at a time; more are refused (503)."""
    idempotency_kept_seconds: int = Field(default=86_400, ge=1)
    """Seconds for which a model call that is repeated under its Idempotency-Key gets the first one's reply."""
    idempotency_max_reply_bytes: int = Field(default=1_048_576, ge=0)
    """Replies that are larger are not kept: a call that is repeated is refused (409), as it was made."""
    idempotency_when_unavailable: WhenUnavailable = "closed"
    """Calls with an Idempotency-Key while the database is away: refused (503), or made as if they had none (open)."""
    ledger_max_waiting: int = Field(default=20_000, ge=1)
    """Ledger rows that may wait for the database; with more, calls are refused (503)."""

    llm_silent_s: float = Field(default=10, ge=1, le=600)
    """Seconds of silence after which the other replicas take a process for gone and close its calls."""

    def model_of(self, role: ModelRole) -> str | None:
        """The model that the operator chose for a role, if any."""
        own: dict[ModelRole, str | None] = {
            "match": self.model_match,
            "decide": self.model_decide,
            "answer": self.model_answer,
            "embed": self.model_embed,
        }
        return own[role] or (None if role == "embed" else self.model)

    def gateway_file(self) -> GatewayFile:
        """What the file declares now; nothing without one.

        Raises:
            SettingsError: the file cannot be read; the sentence says why.
        """
        return (
            GatewayFile()
            if self.llm_deployments_file is None
            else GatewayFile.read(self.llm_deployments_file)
        )

    @cached_property
    def declared(self) -> GatewayFile:
        """What the file declared when it was first asked for: what a process reads at its start, and once."""
        return self.gateway_file()

    def deployments(self) -> list[Deployment]:
        """The declared deployments: those of the variable, then those of the file. Raises as ``gateway_file`` does."""
        return [*self.llm_deployments, *self.declared.deployments]

    def model_routes(self) -> list[ModelRoute]:
        """The rules of routing: those of the variable, then those of the file. Raises as ``gateway_file`` does."""
        return [*self.llm_models, *self.declared.models]
