"""How many tokens a text has, near enough to keep a prompt within a budget.

Tokenizers differ by model and are not here. Measured on common ones, a token is about four characters of Latin script,
and about one of Chinese, Japanese or Korean; what is estimated here is rather more than less.
"""

from collections.abc import Sequence

from signalbox.contracts.context import ChatMessage

_LATIN_CHARS = 4
_WIDE_FROM = "⺀"
"""Scripts from here on take a token a character."""
_OF_A_MESSAGE = 4
"""Role and separators."""
_CUT = " [...] "


def tokens_of(text: str) -> int:
    """About how many tokens a text has."""
    if text.isascii():
        return (len(text) + _LATIN_CHARS - 1) // _LATIN_CHARS
    wide = sum(char >= _WIDE_FROM for char in text)
    return wide + (len(text) - wide + 1) // 2


def tokens_of_messages(messages: Sequence[ChatMessage]) -> int:
    """About how many tokens messages have in a prompt."""
    return sum(tokens_of(message.text) + _OF_A_MESSAGE for message in messages)


def clipped(text: str, tokens: int) -> str:
    """The text within so many tokens: its beginning and its end, where it has more."""
    if tokens_of(text) <= tokens:
        return text
    kept = len(text) * max(tokens, 1) // tokens_of(text) - len(_CUT)
    if kept < 2:
        return text[:1]
    return text[: kept - kept // 3] + _CUT + text[len(text) - kept // 3 :]
