"""Tools: the registry of a snapshot, and carrying out one call."""
