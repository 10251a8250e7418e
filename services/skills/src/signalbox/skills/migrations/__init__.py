"""Schema revisions of the Skills service; see ``signalbox.common.storage.migrations``."""

HEAD = "0002"
