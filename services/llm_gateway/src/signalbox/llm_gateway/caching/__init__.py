"""Answers that are given without calling a provider: kept ones, similar ones, shared ones, and replays of a key."""
