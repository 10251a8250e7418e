"""What a snapshot takes in memory: its document, its rules' database and its classifier, told without loading them."""

import base64
import json
import math

from signalbox.common.snapshots.store import weight_of_document
from signalbox.contracts.admin import Artefact, SnapshotDocument
from signalbox.workflow.matching.example_matcher import ENCODED_ARTEFACT, EXAMPLES_ARTEFACT
from signalbox.workflow.snapshot import RULES_ARTEFACT

_ITEM_BYTES = 4
"""Bytes of a number of a classifier, at most: see ``examples/packing``."""

_RULES_HEAD = 1_024
"""The first line of stored rules is shorter: see ``signalbox.common.rules.stored``."""


def weigh(document: SnapshotDocument) -> int:
    """Bytes that a snapshot takes once everything of it is in use."""
    return weight_of_document(document) + sum(map(_weight, document.artefacts))


def _weight(artefact: Artefact) -> int:
    """Of an artefact that cannot be read, the bytes that it is kept in: it is not used."""
    kept = len(artefact.data_base64) * 3 // 4
    try:
        if artefact.name == RULES_ARTEFACT:
            # The database in use, beside the rules and the compressed database that are kept.
            head = _beginning(artefact, _RULES_HEAD).partition(b"\n")[0]
            return kept + int(json.loads(head).get("size", 0))
        if artefact.name in (EXAMPLES_ARTEFACT, ENCODED_ARTEFACT):
            end = 12 + int.from_bytes(_beginning(artefact, 12)[8:], "little")
            arrays = json.loads(_beginning(artefact, end)[12:])["arrays"]
            return sum(_ITEM_BYTES * math.prod(map(int, entry["shape"])) for entry in arrays)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return kept


def _beginning(artefact: Artefact, size: int) -> bytes:
    """The first bytes of an artefact, without decoding the rest, which may be 100 MB."""
    return base64.b64decode(artefact.data_base64[: (size + 2) // 3 * 4])[:size]
