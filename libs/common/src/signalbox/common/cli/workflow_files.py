"""Workflow files as commands are given them: a file, or a folder with a ``workflow.yaml``."""

from pathlib import Path

from signalbox.common.documents import Document, parse
from signalbox.common.errors import NotFound, ValidationFailed
from signalbox.common.validation import validate
from signalbox.contracts.workflow_config import WorkflowConfig


def read_document(file: Path) -> tuple[Path, Document]:
    """The file that is meant, and its document.

    Raises:
        NotFound: it cannot be read.
        DocumentUnreadable: it is no document.
    """
    file = file / "workflow.yaml" if file.is_dir() else file
    try:
        return file, parse(file.read_bytes())
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.") from error


def read_workflow(file: Path) -> WorkflowConfig:
    """A valid workflow.

    Raises:
        NotFound: it cannot be read.
        DocumentUnreadable: it is no document.
        ValidationFailed: it is not valid.
    """
    file, document = read_document(file)
    result = validate(document)
    if result.config is None or result.errors:
        raise ValidationFailed(f"{file} is not valid; see `signalbox validate {file}`.", errors=result.errors)
    return result.config
