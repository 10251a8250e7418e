"""The texts that a classifier is made from: examples, ids and descriptions, and sentences about nothing in particular.

Imports nothing: who has vectors made of them elsewhere needs the list, and no more.
"""

import re
from collections.abc import Iterable

from signalbox.workflow.examples.background import STRANGERS

_BETWEEN = re.compile(r"[_\-./]+")


def hints(intent_id: str, description: str) -> list[str]:
    """What an intent's id and description say about it, as sentences."""
    return [_BETWEEN.sub(" ", intent_id), *([description] if description else [])]


def to_encode(intents: Iterable[tuple[str, Iterable[str], str]]) -> list[str]:
    """Every text whose vector training asks for, each once: of intents by id, examples and description."""
    texts = list(STRANGERS)
    for intent_id, examples, description in intents:
        texts += [*examples, *hints(intent_id, description)]
    return list(dict.fromkeys(texts))
