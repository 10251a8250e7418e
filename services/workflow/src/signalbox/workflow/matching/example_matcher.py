"""Examples: the classifier that was trained when the snapshot was built, as turns use it."""

import asyncio
import base64
import hashlib
import importlib.util
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.contracts.admin import Artefact
from signalbox.workflow.errors import EncoderMissing
from signalbox.workflow.matching.gateway_vectors import identity_of

if TYPE_CHECKING:
    from signalbox.workflow.examples.classifier import ExampleClassifier, Ranking
    from signalbox.workflow.examples.encoder import Encoder

VectorOf = Callable[[str, str], Awaitable["Sequence[float] | None"]]
"""A model's vector of a text, 32-bit floats; None where it gives none."""

_LOG = logging.getLogger(__name__)

EXAMPLES_ARTEFACT = "examples"
ENCODED_ARTEFACT = "examples-encoded"
EXAMPLES_REPORT = "examples-report"
NOT_LEARNED = "examples_not_learned"
_NEEDED = ("onnxruntime", "tokenizers")


class LateEncoder:
    """The process's encoder, loaded when the first classifier that needs it is."""

    def __init__(self, file: Path) -> None:
        """Look whether there is all that it needs.

        Raises:
            EncoderMissing: there is not.
        """
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise EncoderMissing(
                f"An encoder needs {' and '.join(missing)}: install signalbox-workflow[embeddings]."
            )
        if not file.is_file():
            raise EncoderMissing(f"The encoder {file} is not there: see SIGNALBOX_ENCODER_FILE.")
        self._file = file
        self._encoder: Encoder | None = None
        self._failed = False
        self._lock = threading.Lock()

    def load(self) -> "Encoder | None":
        """The encoder; None, and a line in the log, where the file is none."""
        from signalbox.workflow.examples.encoder import Encoder, EncoderUnusable  # noqa: PLC0415 - numpy

        with self._lock:
            if self._encoder is None and not self._failed:
                try:
                    self._encoder = Encoder(self._file)
                except EncoderUnusable as error:
                    self._failed = True
                    _LOG.error("examples are compared by words alone: %s", error)
            return self._encoder


class ExampleMatcher:
    """Ranks the intents of a snapshot by their examples.

    The classifier is made by ``load``, or when it is first needed: a start is not for that, because the import of
    numpy takes a tenth of a second. ``encoded`` is used where it was trained with the vectors of ``model``, which the
    gateway calls, or else with the process's encoder.
    """

    def __init__(
        self,
        by_words: Artefact,
        encoded: Artefact | None = None,
        encoder: LateEncoder | None = None,
        model: str | None = None,
    ) -> None:
        self._artefacts: tuple[Artefact | None, Artefact | None] | None = (by_words, encoded)
        self._late_encoder = encoder
        self._encoder: Encoder | None = None
        self._model = model
        self._by_model: ExampleClassifier | None = None
        self._classifier: ExampleClassifier | None = None
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether a message has no need to wait for it."""
        return self._artefacts is None

    def load(self) -> None:
        """Make the classifier; runs in any thread, does nothing the second time."""
        with self._lock:
            if self._artefacts is None:
                return
            by_words, encoded = self._artefacts
            if encoded is not None and self._model is not None:
                self._by_model = _trained_with(encoded, identity_of(self._model))
            elif encoded is not None and self._late_encoder is not None:
                self._use_encoded(encoded, self._late_encoder.load())
            if self._classifier is None and by_words is not None:
                self._classifier = _classifier(by_words)
            self._artefacts = None

    async def rank(self, text: str, vector_of: VectorOf | None = None) -> "Ranking | None":
        """What examples say about a normalised text; None where the classifier cannot be used.

        ``vector_of`` is asked where the vectors are a model's; without one, words decide.
        """
        if self._artefacts is not None:
            await asyncio.to_thread(self.load)
        if self._by_model is not None and self._model is not None and vector_of is not None:
            row = await vector_of(self._model, text)
            if row is not None and self._by_model.takes(row):
                return self._by_model.rank(text, row)
        if self._classifier is None:
            return None
        if self._encoder is None:
            return self._classifier.rank(text)
        # Milliseconds of computing outside of Python: other turns go on meanwhile.
        (vector,) = await asyncio.to_thread(self._encoder.encode, [text])
        return self._classifier.rank(text, vector)

    def _use_encoded(self, artefact: Artefact, encoder: "Encoder | None") -> None:
        classifier = None if encoder is None else _trained_with(artefact, encoder.identity)
        if classifier is not None:
            self._classifier, self._encoder = classifier, encoder


def _trained_with(artefact: Artefact, identity: str) -> "ExampleClassifier | None":
    classifier = _classifier(artefact)
    if classifier is None or classifier.encoding is None:
        return None
    if classifier.encoding.encoder != identity:
        _LOG.warning("a snapshot was published with another encoder: publish it again to use this one")
        return None
    return classifier


def _classifier(artefact: Artefact) -> "ExampleClassifier | None":
    from signalbox.workflow.examples.classifier import ExampleClassifier  # noqa: PLC0415 - numpy

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
