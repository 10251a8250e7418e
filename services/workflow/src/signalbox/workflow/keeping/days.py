"""How long conversations are kept."""

from collections.abc import Mapping

_DAY_MS = 86_400_000


class RetentionDays:
    """How long conversations are kept: what the workflow says, and no longer than the operator lets a tenant."""

    def __init__(self, longest: int | None, by_tenant: Mapping[str, int]) -> None:
        self._longest = longest
        self._by_tenant = dict(by_tenant)

    def keep_until(self, tenant: str, declared: int | None, now: int) -> int | None:
        """Epoch milliseconds; None for as long as nobody deletes it."""
        longest = self._by_tenant.get(tenant, self._longest)
        days = [limit for limit in (declared, longest) if limit is not None]
        return now + min(days) * _DAY_MS if days else None
