"""The Workflow service: understands a message, keeps the session in order, calls the work, commits the turn."""
