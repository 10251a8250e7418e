"""The shop as an ASGI application: the one place where its parts are put together."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from signalbox_example_shop import account_endpoints, courier_endpoints, endpoints, write_endpoints
from signalbox_example_shop.database import opened
from signalbox_example_shop.dependencies import Clock, Shop, utc_now
from signalbox_example_shop.errors import install_error_handlers
from signalbox_example_shop.faq import Faq, FullText, SqliteFullText
from signalbox_example_shop.settings import Settings


def create_app(settings: Settings | None = None, clock: Clock = utc_now) -> FastAPI:
    """Build the shop from `settings` (the environment's when None); the data is opened when it starts.

    `clock` gives the present moment in UTC: tests hold it still.
    """
    chosen = settings if settings is not None else Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with opened(chosen.database, clock().date()) as connection:
            faq = _faq(chosen, connection)
            app.state.shop = Shop(connection, clock, chosen.token, faq)
            yield
            await faq.close()

    # No pages of FastAPI's: they load their scripts from a CDN.
    app = FastAPI(
        title="Signalbox example shop", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    install_error_handlers(app)
    app.include_router(endpoints.public_router)
    app.include_router(endpoints.router)
    app.include_router(endpoints.catalogue_router)
    app.include_router(endpoints.faq_router)
    app.include_router(account_endpoints.public_router)
    app.include_router(account_endpoints.router)
    app.include_router(courier_endpoints.router)
    app.include_router(write_endpoints.router)
    return app


def _faq(settings: Settings, connection: sqlite3.Connection) -> Faq:
    """The retriever as the settings want it; what is not wanted is not imported."""
    full_text: FullText = SqliteFullText(connection)
    if settings.faq_database_url is not None:
        from signalbox_example_shop.faq_postgres import PostgresFullText  # noqa: PLC0415

        full_text = PostgresFullText(settings.faq_database_url)
    if settings.embeddings_url is None:
        return Faq(full_text)
    from signalbox_example_shop.embeddings import HttpEmbedder  # noqa: PLC0415

    return Faq(
        full_text, HttpEmbedder(settings.embeddings_url, settings.embeddings_model, settings.embeddings_key)
    )
