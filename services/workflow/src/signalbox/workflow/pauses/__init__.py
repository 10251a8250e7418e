"""Runs of skills that wait for an operator: kept, listed, decided, and gone on with."""
