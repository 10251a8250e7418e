"""Migrations of the Admin service's tables."""

HEAD = "0002"
