"""Templates of the workflow config: sandboxed Jinja over plain JSON values, with bounded work and output.

What a template may do is an allow-list: read values by key and index, a fixed set of filters, tests and text
methods, ``if``, ``for``, ``set`` and ``range``. There are no Python attributes, no includes, imports, macros
or blocks, and nothing that accumulates across iterations.
"""

from signalbox.common.templates.budget import Limits
from signalbox.common.templates.engine import Templates
from signalbox.common.templates.errors import TemplateError
from signalbox.common.templates.localized import has_words, is_foreign, language_chain, localized

__all__ = ["Limits", "TemplateError", "Templates", "has_words", "is_foreign", "language_chain", "localized"]
