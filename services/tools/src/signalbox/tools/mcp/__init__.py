"""The Model Context Protocol, both ways: calling the tools of MCP servers, and serving a workflow's tools as one.

Of the protocol (https://modelcontextprotocol.io/specification) only what tools need, over streamable HTTP: the revision
2026-07-28, whose requests stand for themselves, and the ones before it, which begin with a handshake.
"""
