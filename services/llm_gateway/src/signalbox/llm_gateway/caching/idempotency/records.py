"""What is kept of a call that was made under a key."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.llm_gateway.admission.rate_headers import PREFIX as RATE_HEADERS
from signalbox.llm_gateway.answers import WholeAnswer
from signalbox.llm_gateway.caching.idempotency.streams import ReplayedStream
from signalbox.llm_gateway.errors import IdempotencyNotReplayable, ProviderRefused


@record
class CallName:
    """What names a call: another tenant's, another principal's and another route's key is another one."""

    tenant: str
    subject: str
    route: str
    key: str


@record
class KeyRow:
    """A row of ``llm_idempotency`` as one finds it: for which body it is, and what became of its call."""

    request_hash: str
    claim: str
    over: bool
    """Whether the call is over; then ``reply`` is what it got, or None when that is too large to be kept."""
    reply: str | None


@record
class KeptReply:
    """What the call got: a whole answer, a stream, or the provider's refusal of what was asked.

    ``body`` are the bytes of an answer; None where they are too many to be kept, or are not text.
    """

    headers: dict[str, str]
    body: bytes | None
    streamed: bool = False
    refusal: dict[str, Any] | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str], body: bytes | None, *, streamed: bool = False) -> "KeptReply":
        """What an answer with these headers was; what it said of limits is not true for long."""
        return cls(_lasting(headers), body, streamed)

    @classmethod
    def of_refusal(cls, error: ProviderRefused) -> "KeptReply":
        """A provider's error."""
        refusal = {
            "status": error.provider_status,
            "detail": error.detail,
            "provider_code": error.provider_code,
            "kind": error.kind,
            "param": error.param,
        }
        return cls(_lasting(error.headers), b"", refusal=refusal)

    def written(self) -> str | None:
        """As text; None for what is not kept."""
        if self.body is None:
            return None
        try:
            fields = {**asdict(self), "body": self.body.decode()}
        except UnicodeDecodeError:
            return None
        # No column can hold it; nor is it in any text that JSON or an event stream may have.
        return None if "\0" in fields["body"] else orjson.dumps(fields).decode()

    @classmethod
    def read(cls, written: str | None) -> "KeptReply":
        """From text."""
        if written is None:
            return cls({}, None)
        fields = orjson.loads(written)
        return cls(fields["headers"], fields["body"].encode(), fields["streamed"], fields["refusal"])

    def again(self) -> WholeAnswer | ReplayedStream:
        """The same answer, which says that it is one.

        Raises:
            ProviderRefused: the same refusal.
            IdempotencyNotReplayable: the call was made, and what it got is not kept.
        """
        if self.body is None:
            raise IdempotencyNotReplayable(
                "The call with this Idempotency-Key was made, and its answer is too large to be kept; use another key"
                " to make it anew."
            )
        headers = {**self.headers, names.LLM_REPLAYED: "true"}
        if self.refusal is not None:
            fields = dict(self.refusal)
            raise ProviderRefused(fields.pop("status"), fields.pop("detail"), headers=headers, **fields)
        return ReplayedStream(self.body, headers) if self.streamed else WholeAnswer(self.body, headers)


def _lasting(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith(RATE_HEADERS)}
