"""The ``signalbox`` command. Each installed service adds its own commands by entry point ``signalbox.commands``."""

from signalbox.common.cli.root import main

__all__ = ["main"]
