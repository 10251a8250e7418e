"""Settings of the Tools service."""

from pydantic import Field

from signalbox.common.settings import CommonSettings


class ToolsSettings(CommonSettings):
    """Common settings and those of tool calls."""

    snapshot_cache_bytes: int = Field(default=128 * 1024 * 1024, ge=1_048_576)
    """Memory that published workflows may take here. Those that no release names are dropped first, then the active
    ones that were used longest ago; they are read from disk again when somebody asks."""
