"""Output items of a response in the making, and the events that tell of them.

An item begins at its first delta and ends when another one begins, except a function call whose arguments are not
whole yet: providers may send the arguments of several calls in turn.
"""

from collections.abc import Hashable, Iterator
from typing import Any

import orjson

from signalbox.common.ids import new_id
from signalbox.common.record import record

Json = dict[str, Any]


@record
class _PartForm:
    """How the events of one kind of part are called."""

    type: str
    member: str
    """The member of the part that holds its text."""
    index: str
    part: str
    """The stem of the events that begin and end the part."""
    text: str
    """The stem of the events that add to its text and end it."""
    has_logprobs: bool = False

    def value(self, text: str, logprobs: list[Json]) -> Json:
        part: Json = {"type": self.type, self.member: text}
        return {**part, "annotations": [], "logprobs": logprobs} if self.has_logprobs else part


TEXT = _PartForm("output_text", "text", "content_index", "content_part", "output_text", has_logprobs=True)
REFUSAL = _PartForm("refusal", "refusal", "content_index", "content_part", "refusal")
SUMMARY = _PartForm(
    "summary_text", "text", "summary_index", "reasoning_summary_part", "reasoning_summary_text"
)


class _Part:
    """A part that is open."""

    def __init__(self, form: _PartForm) -> None:
        self.form = form
        self._pieces: list[str] = []
        self._logprobs: list[Json] = []

    @property
    def value(self) -> Json:
        return self.form.value("".join(self._pieces), self._logprobs)

    def begin(self, place: Json) -> Iterator[Json]:
        yield {"type": f"response.{self.form.part}.added", **place, "part": self.value}

    def add(self, piece: str, logprobs: list[Json], place: Json) -> Iterator[Json]:
        self._pieces.append(piece)
        self._logprobs += logprobs
        told = {"delta": piece, "logprobs": logprobs} if self.form.has_logprobs else {"delta": piece}
        yield {"type": f"response.{self.form.text}.delta", **place, **told}

    def end(self, place: Json) -> Iterator[Json]:
        value = self.value
        told = {name: value[name] for name in (self.form.member, "logprobs") if name in value}
        yield {"type": f"response.{self.form.text}.done", **place, **told}
        yield {"type": f"response.{self.form.part}.done", **place, "part": value}


class _Item:
    """An item that is open; ``index`` is its place in the output."""

    def __init__(self, index: int, key: Hashable) -> None:
        self.index = index
        self.key = key

    def may_end(self) -> bool:
        """Whether nothing of it is missing that its form tells of."""
        return True

    def value(self, status: str) -> Json:
        raise NotImplementedError

    def finish(self, *, cut: bool) -> Iterator[Json]:
        """The events before its end."""
        raise NotImplementedError

    def begin(self) -> Iterator[Json]:
        item = self.value("in_progress")
        yield {"type": "response.output_item.added", "output_index": self.index, "item": item}

    def end(self, *, cut: bool) -> Iterator[Json]:
        yield from self.finish(cut=cut)
        item = self.value("incomplete" if cut else "completed")
        yield {"type": "response.output_item.done", "output_index": self.index, "item": item}


class _Spoken(_Item):
    """A message, or the reasoning before one: parts of text, one after the other."""

    def __init__(self, index: int, key: str) -> None:
        super().__init__(index, key)
        self._id = new_id("msg" if key == "message" else "rs")
        self._parts: list[_Part] = []

    def add(self, form: _PartForm, piece: str, logprobs: list[Json]) -> Iterator[Json]:
        if not self._parts or self._parts[-1].form is not form:
            if self._parts:
                yield from self._parts[-1].end(self._place())
            self._parts.append(_Part(form))
            yield from self._parts[-1].begin(self._place())
        yield from self._parts[-1].add(piece, logprobs, self._place())

    def value(self, status: str) -> Json:
        parts = [part.value for part in self._parts]
        item: Json = {"id": self._id, "type": self.key, "status": status}
        if self.key == "message":
            return {**item, "role": "assistant", "content": parts}
        return {**item, "summary": parts}

    def finish(self, *, cut: bool) -> Iterator[Json]:
        del cut
        yield from self._parts[-1].end(self._place())

    def _place(self) -> Json:
        place = {"item_id": self._id, "output_index": self.index}
        return {**place, self._parts[-1].form.index: len(self._parts) - 1}


class _FunctionCall(_Item):
    """A call of one of the caller's functions."""

    def __init__(self, index: int, key: Hashable, call_id: str, name: str) -> None:
        super().__init__(index, key)
        self._id = new_id("fc")
        self._call = {"call_id": call_id, "name": name}
        self._arguments: list[str] = []

    def add(self, piece: str) -> Iterator[Json]:
        if piece:
            self._arguments.append(piece)
            yield {"type": "response.function_call_arguments.delta", **self._place(), "delta": piece}

    def may_end(self) -> bool:
        try:
            return isinstance(orjson.loads("".join(self._arguments)), dict)
        except orjson.JSONDecodeError:
            return False

    def value(self, status: str) -> Json:
        arguments = "".join(self._arguments)
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            **self._call,
            "arguments": arguments,
        }

    def finish(self, *, cut: bool) -> Iterator[Json]:
        if not self._arguments and not cut:
            yield from self.add("{}")  # what some providers leave empty for a function without parameters
        told = {"name": self._call["name"], "arguments": "".join(self._arguments)}
        yield {"type": "response.function_call_arguments.done", **self._place(), **told}

    def _place(self) -> Json:
        return {"item_id": self._id, "output_index": self.index}


class Output:
    """The output of a response. Every method gives the events of what it does."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        """The items that have begun, those that have ended as they are for good."""
        self.size = 0
        """Bytes of text and arguments so far."""
        self._open: list[_Item] = []
        self._ended: set[Hashable] = set()

    def say(self, form: _PartForm, piece: str, logprobs: list[Json]) -> Iterator[Json]:
        """A piece of text, of a refusal or of reasoning."""
        self.size += len(piece.encode())
        key = "reasoning" if form is SUMMARY else "message"
        item = next((item for item in self._open if item.key == key), None)
        if not isinstance(item, _Spoken):
            item = _Spoken(len(self.items), key)
            yield from self._begin(item)
        yield from item.add(form, piece, logprobs)

    def call(self, key: Hashable, call: Json) -> Iterator[Json]:
        """A piece of a function call; ``key`` says which one, where several are told in turn."""
        function = call.get("function") or {}
        piece = function.get("arguments") or ""
        self.size += len(piece.encode())
        if key in self._ended:
            return  # arguments that were whole already can only be followed by white space
        item = next((item for item in self._open if item.key == key), None)
        if not isinstance(item, _FunctionCall):
            call_id = call.get("id") or new_id("call")
            item = _FunctionCall(len(self.items), key, call_id, function.get("name") or "")
            yield from self._begin(item)
        yield from item.add(piece)

    def end(self, *, cut: bool) -> Iterator[Json]:
        """The end of every item; ``cut``: the last one is not whole."""
        while self._open:
            yield from self._end(self._open[0], cut=cut and len(self._open) == 1)

    def _begin(self, item: _Item) -> Iterator[Json]:
        for other in [other for other in self._open if other.may_end()]:
            yield from self._end(other, cut=False)
        self._open.append(item)
        self.items.append(item.value("in_progress"))
        yield from item.begin()

    def _end(self, item: _Item, *, cut: bool) -> Iterator[Json]:
        yield from item.end(cut=cut)
        self._open.remove(item)
        if isinstance(item, _FunctionCall):
            self._ended.add(item.key)
        self.items[item.index] = item.value("incomplete" if cut else "completed")
