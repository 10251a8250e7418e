"""Wire models of Signalbox: what passes between client and service, and between services.

Shapes only: pydantic models with no I/O and no framework. Rules that need more than one value at a time
(references, patterns, templates) are in ``signalbox.common.validation``.

Unknown fields are refused in public requests (``PublicRequest``) and in a config being validated, and
ignored in everything else (``WireModel``), so that release N understands N-1 and N+1.
"""
