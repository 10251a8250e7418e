"""A shop's business backend: orders, tracking, returns, refunds, products, stock and a small FAQ.

It stands in for the systems a company already has: Signalbox reaches it over HTTP only, as a tool, a flow's
call or a function skill. `create_app` builds the service; `python -m signalbox_example_shop` runs it.
"""

from signalbox_example_shop.app import create_app
from signalbox_example_shop.settings import Settings

__all__ = ["Settings", "create_app"]
