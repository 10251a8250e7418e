"""A shop's business backend: orders, tracking, returns, refunds, products, stock and a small FAQ.

It stands in for the systems a company already has: Signalbox reaches it over HTTP only, as a tool, a flow's
call or a function skill. `app.create_app` builds the service; `python -m signalbox_example_shop` runs it. Nothing is
imported here: the Tools service loads `sizes` from this package, and the backend with its framework is not for it.
"""
