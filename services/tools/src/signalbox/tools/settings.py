"""Settings of the Tools service."""

from pydantic import Field

from signalbox.common.settings import CommonSettings


class ToolsSettings(CommonSettings):
    """Common settings and those of tool calls."""

    snapshot_cache_bytes: int = Field(default=128 * 1024 * 1024, ge=1_048_576)
    """Memory that published workflows may take here. Those that no release names are dropped first, then the active
    ones that were used longest ago; they are read from disk again when somebody asks."""
    import_check_seconds: float = Field(default=300.0, ge=1.0, le=86_400.0)
    """How often imported tools are compared with the OpenAPI document or the MCP server that they come from, in
    seconds, as long as they are called. One that is described otherwise than it was approved is not called."""
