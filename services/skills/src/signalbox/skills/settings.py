"""Settings of the Skills service."""

from pydantic import Field

from signalbox.common.settings import CommonSettings


class SkillsSettings(CommonSettings):
    """Common settings and those of runs."""

    snapshot_cache_bytes: int = Field(default=128 * 1024 * 1024, ge=1_048_576)
    """Memory that published workflows may take here. Those that no release names are dropped first, then the active
    ones that were used longest ago; they are read from disk again when somebody asks."""
    tool_result_chars: int = Field(default=24_000, ge=500)
    """Characters of one tool result that a model is shown; a longer one is cut, and says so."""
    run_context_tokens: int = Field(default=48_000, ge=1000)
    """Tokens, estimated, that the prompt of a run may come to; beyond, its older steps become notes of its model."""
    run_transcript_chars: int = Field(default=64_000, ge=1000)
    """Characters of a run's tool calls and results that are kept for later turns; beyond, they are shortened."""
    roles_cache_seconds: float = Field(default=30.0, ge=0)
    """How long the gateway's default models are remembered."""
