"""Following Admin: the active releases, the API keys, and the snapshots that they name."""

from signalbox.common.snapshots.feed import ConfigFeed
from signalbox.common.snapshots.following import ConfigFollower
from signalbox.common.snapshots.store import Snapshots, UnknownSnapshot

__all__ = ["ConfigFeed", "ConfigFollower", "Snapshots", "UnknownSnapshot"]
