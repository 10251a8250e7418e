"""What Prometheus sees of answers that are looked for before a provider is asked."""

from prometheus_client import CollectorRegistry, Counter

from signalbox.llm_gateway.records import CachedBy


class CacheLookups:
    """Counts look-ups by what was looked for; calls that ask for none are not in it.

    That is kept answers to the same request (``exact``), to one that means the same (``semantic``), and identical calls
    that are under way (``coalesced``).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lookups = Counter(
            "signalbox_llm_cache_lookups",
            "Answers that were looked for before a provider was asked, and whether there was one.",
            ["kind", "result"],
            registry=registry,
        )

    def count(self, kind: CachedBy, *, found: bool) -> None:
        """One was looked for."""
        self._lookups.labels(kind, "hit" if found else "miss").inc()
