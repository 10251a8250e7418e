"""Why a text is not read as a document."""

from signalbox.common.errors import BadRequest, PayloadTooLarge


class DocumentUnreadable(BadRequest):
    """The text is no document; ``line`` and ``column`` (from 1) say where, if that is known."""

    code = "unreadable_document"
    title = "Document cannot be read"

    def __init__(self, reason: str, *, line: int | None = None, column: int | None = None) -> None:
        where = f"Line {line}, column {column}: " if line is not None else ""
        super().__init__(where + reason, pointer="")
        self.line = line
        self.column = column


class DocumentTooLarge(PayloadTooLarge):
    """The document has more bytes, levels or values than are read."""

    code = "document_too_large"
