"""Schema revisions of the LLM Gateway; see ``signalbox.common.storage.migrations``."""

HEAD = "0006"
