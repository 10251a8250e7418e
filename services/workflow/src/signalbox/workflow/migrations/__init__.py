"""Schema history of the Workflow service."""

HEAD = "0007"
