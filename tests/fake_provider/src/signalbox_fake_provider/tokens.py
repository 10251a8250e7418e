"""The provider's token rule, simple enough to compute in a test by hand.

A text has one token for every four characters begun. A prompt's tokens are those of the text of its messages
and of the names and arguments of their tool calls; an answer's are those of its content, tool names and
arguments. Images, audio, tool definitions and roles count nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

CHARACTERS_PER_TOKEN = 4


def tokens_of(text: str) -> int:
    """Number of tokens in ``text``: a quarter of its characters, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def split_tokens(text: str) -> list[str]:
    """``text`` cut into its tokens."""
    return [text[i : i + CHARACTERS_PER_TOKEN] for i in range(0, len(text), CHARACTERS_PER_TOKEN)]


def text_of(content: object) -> str:
    """The text of a message's ``content``: a text, or a list of parts of which those of type text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return ""


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of the messages of a chat request."""
    return sum(tokens_of(text) for message in messages_of(body) for text in _texts(message))


def messages_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages of a chat request; what is no mapping is left out."""
    messages = body.get("messages")
    return (
        [message for message in messages if isinstance(message, Mapping)]
        if isinstance(messages, list)
        else []
    )


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    yield text_of(message.get("content"))
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        yield str(function.get("name") or "")
        yield str(function.get("arguments") or "")
