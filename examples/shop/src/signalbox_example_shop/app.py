"""The shop as an ASGI application: the one place where its parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from signalbox_example_shop import account_endpoints, courier_endpoints, endpoints, write_endpoints
from signalbox_example_shop.database import opened
from signalbox_example_shop.dependencies import Clock, Shop, utc_now
from signalbox_example_shop.errors import install_error_handlers
from signalbox_example_shop.settings import Settings


def create_app(settings: Settings | None = None, clock: Clock = utc_now) -> FastAPI:
    """Build the shop from `settings` (the environment's when None); the data is opened when it starts.

    `clock` gives the present moment in UTC: tests hold it still.
    """
    chosen = settings if settings is not None else Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with opened(chosen.database, clock().date()) as connection:
            app.state.shop = Shop(connection, clock, chosen.token)
            yield

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
