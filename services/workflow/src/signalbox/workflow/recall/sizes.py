"""How many tokens messages of a conversation have, near enough to keep a prompt within a budget."""

from collections.abc import Sequence

from signalbox.common.text_sizes import tokens_of
from signalbox.contracts.context import ChatMessage

_OF_A_MESSAGE = 4
"""Role and separators."""


def tokens_of_messages(messages: Sequence[ChatMessage]) -> int:
    """About how many tokens messages have in a prompt."""
    return sum(tokens_of(message.text) + _OF_A_MESSAGE for message in messages)
