"""The built-in model: deterministic, offline, and no language model at all.

It serves installations without any other model, so that a newcomer sees intents named and tools called. It
compares words: of a message with those of intents, tools and schemas in the request. Every text that it writes
says that it came from the demo model.
"""

from signalbox.llm_gateway.demo.model import DemoModel
from signalbox.llm_gateway.demo.upstream import DemoUpstream

__all__ = ["DemoModel", "DemoUpstream"]
