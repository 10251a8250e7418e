"""Flows: procedures of several steps, their slots and their replies."""
