"""Settings of the Flows service."""

from pydantic import Field

from signalbox.common.settings import CommonSettings


class FlowsSettings(CommonSettings):
    """Common settings and those of flows."""

    snapshot_cache_bytes: int = Field(default=128 * 1024 * 1024, ge=1_048_576)
    """Memory that published workflows may take here. Those that no release names are dropped first, then the active
    ones that were used longest ago; they are read from disk again when somebody asks."""
    flow_steps_per_call: int = Field(default=200, ge=1, le=10_000)
    """Steps that one message may run; a flow that goes round in circles ends here."""
