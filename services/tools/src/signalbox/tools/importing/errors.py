"""Why something cannot be imported."""

from signalbox.common.errors import BadRequest, NotFound


class SourceUnusable(BadRequest):
    """The document or the server is there, but it is not what tools can be made of."""

    code = "source_unusable"


class OperationUnusable(BadRequest):
    """One operation cannot become a tool; the others can."""

    code = "operation_unusable"


class OperationUnknown(NotFound):
    """The source has no operation or tool of this name."""

    code = "operation_unknown"
