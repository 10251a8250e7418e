"""Who attacks: everybody that the contract suite knows, on the same running systems."""

from support.system_fixtures import admin_client, client, other, probe, provider, with_keys

__all__ = ["admin_client", "client", "other", "probe", "provider", "with_keys"]
