"""Places in a JSON document, read with errors that name the place."""

from typing import Any

from signalbox.common.record import record
from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.protocol import MAX_TOKENS


@record
class Node:
    """A value and the JSON pointer (RFC 6901) to it. Every reading method raises MalformedCall."""

    value: Any
    pointer: str = ""

    def member(self, name: str) -> "Node":
        """A required member of an object."""
        found = self.optional(name)
        if found is None:
            raise Node(None, f"{self.pointer}/{name}").wrong("is required; add it")
        return found

    def optional(self, name: str) -> "Node | None":
        """A member of an object; None where it is absent or null."""
        value = self.mapping().get(name)
        return None if value is None else Node(value, f"{self.pointer}/{name}")

    def items(self) -> list["Node"]:
        """The items of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("must be a list")
        return [Node(item, f"{self.pointer}/{index}") for index, item in enumerate(self.value)]

    def mapping(self) -> dict[str, Any]:
        """The value as an object."""
        if not isinstance(self.value, dict):
            raise self.wrong("must be an object")
        return self.value

    def text(self) -> str:
        """The value as a text."""
        if not isinstance(self.value, str):
            raise self.wrong("must be a text")
        return self.value

    def truth(self) -> bool:
        """The value as a boolean."""
        if not isinstance(self.value, bool):
            raise self.wrong("must be true or false")
        return self.value

    def count(self) -> int:
        """The value as a whole number of at least one, and no more than ``MAX_TOKENS``."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 1:
            raise self.wrong("must be a whole number of at least 1")
        if self.value > MAX_TOKENS:
            raise self.wrong(f"must be at most {MAX_TOKENS}")
        return self.value

    def one_of(self, *choices: str) -> str:
        """The value as one of some texts."""
        if self.value not in choices:
            raise self.wrong(f"must be one of {', '.join(choices)}")
        return str(self.value)

    def kind(self) -> str:
        """The ``type`` of an object."""
        return self.member("type").text()

    def wrong(self, what: str) -> MalformedCall:
        """The error that says what is wrong here."""
        place = self.pointer.lstrip("/").replace("/", ".") or "the body"
        return MalformedCall(f"{place}: {what}.", pointer=self.pointer)
