"""Settings of the Tools service."""

from pydantic import Field

from signalbox.common.settings import CommonSettings


class ToolsSettings(CommonSettings):
    """Common settings and those of tool calls."""

    snapshot_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=1_048_576)
    """Memory for snapshots that no release names any more."""
