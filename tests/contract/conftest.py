"""Who asks, in the contract suite."""

from support.system_fixtures import admin_client, client, other, probe, provider, with_keys

__all__ = ["admin_client", "client", "other", "probe", "provider", "with_keys"]
