"""Tools that others describe: read from an OpenAPI document or an MCP server, and pinned to what was approved."""
