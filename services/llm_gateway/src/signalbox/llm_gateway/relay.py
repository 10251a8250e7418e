"""A provider's event stream on its way to the client: edited where the client must not see a difference."""

import logging
from collections.abc import Callable
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.accounting import AttemptAccount
from signalbox.llm_gateway.errors import ProviderBroke
from signalbox.llm_gateway.protocol import DONE, append_member, data_of, refusal_in, replace_text

_LOG = logging.getLogger(__name__)

_ENVELOPE = ("id", "object", "created", "model", "system_fingerprint")


class Sent:
    """What of an answer the client has got, as far as it takes to let another model go on with it."""

    def __init__(self) -> None:
        self.envelope: dict[str, Any] = {}
        """Members that all chunks of an answer share."""
        self._texts: list[str] = []
        self._more_than_text = False

    @property
    def text(self) -> str | None:
        """The text so far; None when it cannot be gone on with: there is none yet, or more than text was sent."""
        return None if self._more_than_text else "".join(self._texts) or None

    def add(self, chunk: dict[str, Any]) -> None:
        """One more chunk of the answer goes to the client."""
        if not self.envelope:
            self.envelope = {name: chunk[name] for name in _ENVELOPE if name in chunk}
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                continue
            if isinstance(text := delta.get("content"), str):
                self._texts.append(text)
            if any(delta.get(name) for name in ("tool_calls", "function_call", "refusal", "audio")):
                self._more_than_text = True


class StreamRelay:
    """Decides for each event what of it goes on.

    - The usage chunk goes to a client that asked for it, and to nobody else. ``cost`` tells what goes with it.
    - ``model`` is what the client called it, where the provider has another name for it.
    - An event that is not JSON is left out: no client could read it.
    - A stream that ends after its finish reason but without ``[DONE]`` gets one; one that ends before, is broken.
    """

    def __init__(
        self,
        attempt: AttemptAccount,
        *,
        model: str,
        wants_usage: bool,
        cost: Callable[[], str | None] | None = None,
        sent: Sent | None = None,
    ) -> None:
        deployment = attempt.deployment
        self.sent = sent
        self.began = False
        """Whether anything of the answer itself has come."""
        self.done = False
        self._attempt = attempt
        self._name = deployment.name
        self._rename = orjson.dumps(model) if deployment.provider_model != model else None
        self._model = model
        self._wants_usage = wants_usage
        self._cost = cost
        self._begun_choices: set[Any] = set()
        self._ended_choices: set[Any] = set()

    def pass_on(self, block: bytes) -> bytes:
        """What the client gets of an event; maybe nothing.

        Raises:
            ProviderRefused: the event is the provider's error.
            ProviderBroke: it ends an answer that never began.
        """
        data = data_of(block)
        if data is None:
            return block
        if data == b"[DONE]":
            if not self.began:
                raise ProviderBroke(f"'{self._name}' ended its stream before it began an answer; try again.")
            self.done = True
            return DONE
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            _LOG.warning("%s sent an event that is not JSON; it is left out", self._name)
            return b""
        if not isinstance(chunk, dict):
            return block
        if self._attempt.content is None and self._is_more_text(chunk):
            return self._edited(block, data, chunk)
        error = refusal_in(chunk, self._name)
        if error is not None:
            raise error
        usage = chunk.get("usage")
        if counted := isinstance(usage, dict):
            self._attempt.reported(usage)
        self._attempt.answered(chunk.get("model"))
        if self._attempt.content is not None:
            self._attempt.content.add(chunk)
        self._read_choices(chunk.get("choices"))
        if counted and not chunk.get("choices") and not self._wants_usage:
            return b""
        if self.sent is not None and self.began:
            self._keep(self.sent, chunk)
        return self._edited(block, data, chunk)

    def _keep(self, sent: Sent, chunk: dict[str, Any]) -> None:
        """A chunk of the answer goes on."""
        sent.add(chunk if self._rename is None else {**chunk, "model": self._model})

    @property
    def whole(self) -> bool:
        """Whether every choice of the answer has its finish reason."""
        return bool(self._ended_choices) and self._begun_choices <= self._ended_choices

    def end(self) -> bytes:
        """What is to follow when the provider's stream has ended.

        Raises:
            ProviderBroke: the answer is not whole.
        """
        if self.done:
            return b""
        if not self.whole:
            raise ProviderBroke(f"'{self._name}' ended its stream before the answer was whole; try again.")
        self.done = True
        return DONE

    def _is_more_text(self, chunk: dict[str, Any]) -> bool:
        """Whether a chunk adds nothing but text to the one choice of an answer that has begun; the text is counted.

        Nearly every event of a stream does.
        """
        if not self.began or self.sent is not None or chunk.get("usage") or chunk.get("error"):
            return False
        try:
            (choice,) = chunk["choices"]
            delta = choice["delta"]
            text = delta["content"]
            plain = len(delta) == 1 and choice["index"] in self._begun_choices
        except (KeyError, TypeError, ValueError):
            return False
        if not plain or text.__class__ is not str or choice.get("finish_reason") is not None:
            return False
        if text:
            self._attempt.received(len(text) if text.isascii() else len(text.encode()))
        return True

    def _read_choices(self, choices: Any) -> None:
        if not isinstance(choices, list):
            return
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            delta = choice.get("delta")
            if choice.get("finish_reason") is not None:
                self.began = True
                self._ended_choices.add(choice.get("index"))
            elif not self.began and _has_content(delta):
                self.began = True
            self._begun_choices.add(choice.get("index"))
            size = _size(delta)
            if size:
                self._attempt.received(size)

    def _edited(self, block: bytes, data: bytes, chunk: dict[str, Any]) -> bytes:
        if self._rename is None and self._cost is None:
            return block
        edited = data
        if self._rename is not None:
            model = chunk.get("model")
            if isinstance(model, str):
                edited = replace_text(edited, "model", model, self._rename)
        if (
            self._cost is not None
            and self._wants_usage
            and isinstance(chunk.get("usage"), dict)
            and (cost := self._cost()) is not None
        ):
            edited = append_member(edited, "signalbox_cost", orjson.dumps(cost))
        return block if edited is data else b"data: " + edited + b"\n\n"


def pass_all_on(relay: StreamRelay, blocks: list[bytes]) -> tuple[bytes, SignalboxError | None]:
    """What goes on of events that came in one piece, up to the one that is an error."""
    passed = []
    try:
        for block in blocks:
            passed.append(relay.pass_on(block))  # noqa: PERF401 - what came before an error must not be lost
    except SignalboxError as error:
        return b"".join(passed), error
    return b"".join(passed), None


def _has_content(delta: Any) -> bool:
    """Whether a delta holds anything but a role and empty members."""
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role")


def _size(delta: Any) -> int:
    """Bytes of text and arguments in a delta."""
    if not isinstance(delta, dict):
        return 0
    size = 0
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        text = delta.get(name)
        if isinstance(text, str):
            size += len(text.encode())
    for call in delta.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            size += len(str(function.get("name") or "")) + len(str(function.get("arguments") or ""))
    return size
