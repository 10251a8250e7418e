"""Keeping and forgetting: lists and exports of sessions, their deletion, and the erasure of users."""
