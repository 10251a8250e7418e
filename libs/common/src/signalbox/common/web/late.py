"""What a start leaves out and an idle process makes up for, so that no later call has to."""

import importlib
from collections.abc import Iterable, Iterator

from fastapi import FastAPI
from pydantic import BaseModel

from signalbox.common.web.routes import LateRoute

_STREAMING = "anyio._backends._asyncio"
"""What a server's first streamed answer imports; anyio has no call that loads it outside of an event loop."""


def build_late(apps: Iterable[FastAPI]) -> None:
    """Build our models and analyse the routes of ``apps``; takes a tenth of a second, in any thread.

    Models come first, because the validators of a route are put together from those of its models.
    """
    importlib.import_module(_STREAMING)
    for model in _unbuilt(BaseModel):
        model.model_rebuild(raise_errors=False)
    for app in apps:
        for route in app.routes:
            if isinstance(route, LateRoute):
                route.analyse()


def _unbuilt(parent: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models of ours that are not built yet: those of others may never be needed."""
    for model in parent.__subclasses__():
        yield from _unbuilt(model)
        if model.__module__.startswith("signalbox.") and not model.__pydantic_complete__:
            yield model
