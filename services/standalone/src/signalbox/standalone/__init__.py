"""One process: all six services, their calls in memory, one listener."""
