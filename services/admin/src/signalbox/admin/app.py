"""Wiring of the Admin service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from fastapi import FastAPI

from signalbox.admin import endpoints, internal_endpoints
from signalbox.admin.catalogue import Catalogue
from signalbox.admin.feed import StateFeed
from signalbox.admin.following import Following
from signalbox.admin.key_repository import SqlKeyStore
from signalbox.admin.keys import Keys
from signalbox.admin.ports import Builder, DocumentCheck, ReplicaStore
from signalbox.admin.publishing import Publisher
from signalbox.admin.releasing import Propagation, Releasing
from signalbox.admin.replicas import LocalReplicas
from signalbox.admin.repository import SqlConfigStore
from signalbox.admin.settings import AdminSettings
from signalbox.admin.state_repository import SqlReplicaStore, SqlStateStore
from signalbox.common.auth import KeyRing
from signalbox.common.clients import WorkflowClient
from signalbox.common.platform import Platform
from signalbox.common.storage import Database
from signalbox.common.validation import validate
from signalbox.common.web import ServiceParts, create_service_app

_ENVELOPE_BYTES = 65_536
"""What a request may have around its document."""


class Services(NamedTuple):
    """What the endpoints call."""

    feed: StateFeed
    following: Following
    publisher: Publisher
    catalogue: Catalogue
    keys: Keys


def wire(
    database: Database, settings: AdminSettings, builder: Builder, check: DocumentCheck, ring: KeyRing
) -> Services:
    """The services over one database; ``ring`` is kept to the keys in it."""
    # A SQLite file belongs to one process: nobody else changes it, and every follower polls here.
    shared = database.dialect != "sqlite"
    config = SqlConfigStore(database)
    state = SqlStateStore(database)
    replicas: ReplicaStore = SqlReplicaStore(database) if shared else LocalReplicas()
    feed = StateFeed(state, ring, shared=shared, poll_s=settings.state_poll_s)
    propagation = Propagation(feed, replicas, timeout_s=settings.effect_timeout_s)
    releasing = Releasing(config, state, replicas, propagation, ready_timeout_s=settings.ready_timeout_s)
    publisher = Publisher(
        config,
        check,
        builder,
        releasing,
        max_document_bytes=settings.max_document_bytes,
        build_timeout_s=settings.build_timeout_s,
    )
    return Services(
        feed=feed,
        following=Following(feed, replicas, grace_s=settings.replica_grace_s),
        publisher=publisher,
        catalogue=Catalogue(config, propagation),
        keys=Keys(SqlKeyStore(database), propagation),
    )


def create_app(
    settings: AdminSettings | None = None,
    platform: Platform | None = None,
    *,
    builder: Builder | None = None,
) -> FastAPI:
    """The Admin service. ``builder`` stands in for the Workflow service."""
    settings = settings or AdminSettings()
    own = platform is None
    platform = platform or Platform.from_settings(settings)
    authenticator = platform.authenticator("admin")
    build_with = builder or platform.client(WorkflowClient, caller="admin")

    async def database_answers() -> None:
        await platform.database("admin").ping()
        feed: StateFeed = app.state.feed
        await feed.check()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if own:
                await stack.enter_async_context(platform)
            services = wire(platform.database("admin"), settings, build_with, validate, authenticator.keys)
            for name, service in services._asdict().items():
                setattr(app.state, name, service)
            await services.feed.start()
            stack.push_async_callback(services.feed.stop)
            yield

    # A document may be larger than what the other services read.
    limit = settings.max_document_bytes + _ENVELOPE_BYTES
    app = create_service_app(
        ServiceParts(
            name="admin",
            title="Signalbox Admin",
            settings=settings.model_copy(update={"max_body_bytes": limit}),
            tracing=platform.tracing,
            authenticator=authenticator,
            routers=[endpoints.router, internal_endpoints.router],
            lifespan=lifespan,
            ready_checks={"database": database_answers},
        )
    )
    return app


def publisher_of(app: FastAPI) -> Publisher:
    """The publisher of a running Admin app, for a process that publishes without HTTP (``signalbox up``)."""
    publisher: Publisher = app.state.publisher
    return publisher
