"""Migrations of the tables that the storage tests use."""

HEAD = "0002"
