"""Timers of workflows: what happens after a silence of the user."""
