"""What Redis keeps of a call while the ledger has not got its row: as bytes, for another process to read.

Of an open call it is how it began, of which its row is made should its process die; of a settled one its own rows.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from signalbox.common.record import record
from signalbox.llm_gateway.admission.ports import Opening
from signalbox.llm_gateway.ledger_rows import call_of, lines_of
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import MAX_PICO, Labels, LedgerCall, storable

GATEWAY_DIED = "gateway_died"
"""``error_code`` of the row of a call whose process died before it knew what was used."""


@record
class _Beginning:
    """How a call began; the order of the fields is that of the values in Redis, to which later versions may add."""

    tenant: str
    subject: str
    operation: str
    model: str
    input_tokens: int
    output_tokens: int
    bound_pico: int | None
    """What it costs at most."""
    estimated_pico: int | None
    currency: str | None
    created_at: int
    trace_id: str | None
    labels: Sequence[Any]


_VALUES = len(_Beginning.__dataclass_fields__)


def opened(opening: Opening) -> bytes:
    """How a call began, to be read by ``abandoned_by``. Made for each call, so of what differs only."""
    labels, worst = opening.labels, opening.worst
    estimate = worst.estimate
    return orjson.dumps(
        (
            opening.principal.tenant,
            opening.principal.subject,
            opening.operation,
            opening.model,
            estimate.input,
            estimate.output,
            # What it may cost may be more than JSON's numbers here can say.
            None if worst.cost_pico is None else min(worst.cost_pico, MAX_PICO),
            worst.estimated_pico,
            worst.currency,
            opening.created_at,
            opening.trace_id,
            (labels.workflow_id, labels.session_id, labels.skill_id, labels.purpose, labels.user_id),
        )
    )


def abandoned(opening: Opening) -> LedgerCall:
    """The row of a call of which nothing is known but how it began.

    Its tokens and their cost are an estimate. It may have used more, so budgets count all that it could.
    """
    return abandoned_by(opening.call_id, opened(opening))


def abandoned_by(call_id: str, beginning: bytes) -> LedgerCall:
    """The row of a call that began so, and whose process is gone.

    Raises:
        ValueError: this is no beginning of a call.
    """
    try:
        began = _Beginning(*orjson.loads(beginning)[:_VALUES])
        labels = Labels(*began.labels)
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no beginning of a call: {error}") from error
    return LedgerCall(
        tenant=began.tenant,
        call_id=call_id,
        subject=storable(began.subject),
        labels=labels,
        operation=began.operation,
        model_asked=storable(began.model),
        model_answered=None,
        deployment=None,
        streamed=False,
        tokens=Tokens(began.input_tokens, began.output_tokens),
        cost_pico=began.estimated_pico,
        currency=began.currency,
        priced=began.bound_pico is not None,
        estimated=True,
        emulated=None,
        outcome="aborted",
        status=500,
        error_code=GATEWAY_DIED,
        latency_ms=0,
        first_token_ms=None,
        trace_id=began.trace_id,
        created_at=began.created_at,
        reaped=True,
        held_pico=began.bound_pico,
    )


def encode(row: LedgerCall) -> bytes:
    """The rows of a settled call."""
    return b"\n".join(lines_of(row))


def decode(settled: bytes) -> LedgerCall:
    """The row of a settled call. Raises ValueError for what is none."""
    return call_of(settled.split(b"\n"))
