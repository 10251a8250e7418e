"""What the process gives to the services in it, whatever its shape: stores, cache, clients, secrets, traces.

A service never knows whether its siblings share its process. ``Platform.from_settings`` reaches them over
HTTP; the one-process app replaces the hops by in-memory ones before it creates the services.
"""

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, TypeVar

from signalbox.common.auth import Authenticator, ServiceTokens
from signalbox.common.cache import Cache, open_cache
from signalbox.common.clients import ServiceClient
from signalbox.common.secrets import ChainedSecrets, DirectorySecrets, EnvironmentSecrets, SecretStore
from signalbox.common.settings import SERVICE_NAMES, CommonSettings
from signalbox.common.telemetry import Tracing
from signalbox.common.transport import AllowList, DeferredHop, DeferredOutbound, Outbound, ServiceHop
from signalbox.contracts.admin import ServiceName

if TYPE_CHECKING:
    from signalbox.common.storage import Database, DeferredDatabase
    from signalbox.common.storage.postgres.exclusive import ExclusiveUse

ClientT = TypeVar("ClientT", bound=ServiceClient)

_NEED_SHARED_CACHE: frozenset[ServiceName] = frozenset({"workflow", "llm_gateway"})
"""Services whose replicas must see each other's leases and limits: without Redis there is one process of each."""


class Platform:
    """Everything that services share in one process; entered once, before any of them."""

    def __init__(
        self,
        settings: CommonSettings,
        *,
        cache: Cache,
        secrets: SecretStore,
        outbound: Outbound,
        tracing: Tracing,
        hops: Mapping[ServiceName, ServiceHop],
    ) -> None:
        self.settings = settings
        self.cache = cache
        self.secrets = secrets
        self.outbound = outbound
        self.tracing = tracing
        self.hops = dict(hops)
        self._secret = settings.load_service_secret()
        self._databases: dict[str, DeferredDatabase] = {}
        self._database_users: set[ServiceName] = set()
        self._claims: list[ExclusiveUse] = []

    @classmethod
    def from_settings(cls, settings: CommonSettings) -> Self:
        """The platform of a process whose siblings are elsewhere."""
        return cls(
            settings,
            cache=open_cache(settings.redis_url),
            secrets=secrets_from_settings(settings),
            outbound=_outbound(AllowList.parse(settings.outbound_allow)),
            tracing=Tracing.from_settings(settings),
            hops={name: _hop(name, settings.service_url(name)) for name in SERVICE_NAMES},
        )

    def database(self, service: ServiceName) -> "Database":
        """The database of a service, not opened yet; services that name the same one share its connections."""
        from signalbox.common.storage import (  # noqa: PLC0415 - an extra that not every service has
            DeferredDatabase,
            is_postgres,
            open_database,
        )

        self._database_users.add(service)
        url = self.settings.database_url_of(service)
        database = self._databases.get(url)
        if database is None:
            database = self._databases[url] = DeferredDatabase(
                "postgresql" if is_postgres(url) else "sqlite",
                lambda: open_database(url, pool_size=self.settings.database_pool),
            )
        return database

    def tokens(self, service: ServiceName) -> ServiceTokens:
        """Mints and verifies tokens as ``service``."""
        return ServiceTokens(self._secret, service)

    def authenticator(self, service: ServiceName) -> Authenticator:
        """Verifies the credentials of requests to ``service``."""
        return Authenticator(service, self.tokens(service), allow_local=self.settings.auth == "local")

    def client(self, kind: type[ClientT], caller: ServiceName) -> ClientT:
        """A client of a sibling, for calls made by ``caller``."""
        return kind(self.hops[kind.service], self.tokens(caller), self.tracing.tracer(caller))

    async def __aenter__(self) -> Self:
        """Open the databases that were asked for: one in use elsewhere is said before anything is served."""
        try:
            for database in self._databases.values():
                database.open()
            if self.settings.database_url and not self.settings.redis_url:
                await self._claim_database(self.settings.database_url)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _claim_database(self, url: str) -> None:
        from signalbox.common.storage.postgres.exclusive import ExclusiveUse  # noqa: PLC0415 - PostgreSQL only

        for service in sorted(self._database_users & _NEED_SHARED_CACHE):
            claim = ExclusiveUse(url, service)
            await claim.acquire()
            self._claims.append(claim)

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close in the order of dependence: callers first, stores last."""
        async with AsyncExitStack() as stack:
            stack.callback(self.tracing.close)
            stack.push_async_callback(self.cache.close)
            for claim in self._claims:
                stack.push_async_callback(claim.release)
            for database in self._databases.values():
                stack.push_async_callback(database.close)
            stack.push_async_callback(self.outbound.aclose)
            for hop in self.hops.values():
                stack.push_async_callback(hop.aclose)


def _outbound(allowed: AllowList) -> Outbound:
    def make() -> Outbound:
        from signalbox.common.transport import GuardedOutbound  # noqa: PLC0415 - imports the HTTP client

        return GuardedOutbound(allowed)

    return DeferredOutbound(make)


def _hop(service: ServiceName, urls: str) -> ServiceHop:
    def make() -> ServiceHop:
        from signalbox.common.transport import HttpServiceHop  # noqa: PLC0415 - imports the HTTP client

        return HttpServiceHop([url.strip() for url in urls.split(",")], service=service)

    return DeferredHop(make)


def secrets_from_settings(settings: CommonSettings) -> SecretStore:
    """Secrets from the environment, then from the directory that the settings name."""
    stores: list[SecretStore] = [EnvironmentSecrets(os.environ)]
    if settings.secrets_dir is not None:
        stores.append(DirectorySecrets(settings.secrets_dir))
    return ChainedSecrets(stores)
