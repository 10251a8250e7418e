"""What goes wrong with a template."""

from signalbox.common.errors import SignalboxError

_SHOWN = 60


class TemplateError(SignalboxError):
    """A template does not parse, asks for what is not allowed, or fails over the values that it is given.

    ``template`` names it: the name that the caller gave, else the beginning of its source. ``reason`` is the
    sentence without that name.
    """

    code = "template_error"
    status = 500
    title = "Template error"

    def __init__(self, template: str, reason: str) -> None:
        super().__init__(f"Template {template}: {reason}")
        self.template = template
        self.reason = reason


def template_name(name: str, source: str) -> str:
    """How an error names a template."""
    if name:
        return f"`{name}`"
    line = " ".join(source.split())
    return f"`{line[:_SHOWN]}{'...' if len(line) > _SHOWN else ''}`"
