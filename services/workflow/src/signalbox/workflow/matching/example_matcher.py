"""Examples: the classifier that was trained when the snapshot was built, as turns use it."""

import asyncio
import base64
import hashlib
import logging
import threading
from typing import TYPE_CHECKING

from signalbox.contracts.admin import Artefact

if TYPE_CHECKING:
    from signalbox.workflow.examples.classifier import ExampleClassifier, Ranking

_LOG = logging.getLogger(__name__)

EXAMPLES_ARTEFACT = "examples"
EXAMPLES_REPORT = "examples-report"
NOT_LEARNED = "examples_not_learned"


class ExampleMatcher:
    """Ranks the intents of a snapshot by their examples.

    The classifier is made by ``load``, or when it is first needed: a start is not for that, because the import of
    numpy takes a tenth of a second.
    """

    def __init__(self, artefact: Artefact) -> None:
        self._artefact: Artefact | None = artefact
        self._classifier: ExampleClassifier | None = None
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether a message has no need to wait for it."""
        return self._artefact is None

    def load(self) -> None:
        """Make the classifier; runs in any thread, does nothing the second time."""
        with self._lock:
            if self._artefact is None:
                return
            self._classifier = _classifier(self._artefact)
            self._artefact = None

    async def rank(self, text: str) -> "Ranking | None":
        """What examples say about a normalised text; None where the classifier cannot be used."""
        if self._artefact is not None:
            await asyncio.to_thread(self.load)
        return None if self._classifier is None else self._classifier.rank(text)


def _classifier(artefact: Artefact) -> "ExampleClassifier | None":
    from signalbox.workflow.examples.classifier import ExampleClassifier  # noqa: PLC0415 - numpy, when needed

    reason: object = "its bytes are not those that were built"
    try:
        data = base64.b64decode(artefact.data_base64, validate=True)
        if hashlib.sha256(data).hexdigest() == artefact.sha256:
            return ExampleClassifier.load(data)
    except ValueError as error:
        reason = error
    # Rules and models go on without it; publishing again builds one that fits.
    _LOG.warning("the classifier of a snapshot cannot be used, publish it again: %s", reason)
    return None
