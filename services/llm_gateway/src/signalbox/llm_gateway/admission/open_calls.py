"""The ledger row that a call has if its process dies: as bytes, for another process to read."""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson

from signalbox.llm_gateway.admission.ports import Opening
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import MAX_PICO, NO_LABELS, Labels, LedgerAttempt, LedgerCall, storable

GATEWAY_DIED = "gateway_died"
"""``error_code`` of the row of a call whose process died before it knew what was used."""

Names = tuple[str, ...]
Getter = Callable[[object], tuple[Any, ...]]


def _names(kind: type, *without: str) -> Names:
    return tuple(each.name for each in fields(kind) if each.name not in without)


_CALL = _names(LedgerCall, "tokens", "labels", "attempts")
_ATTEMPT = _names(LedgerAttempt, "tokens")
_TOKENS, _LABELS = _names(Tokens), _names(Labels)
_OF_CALL: Getter = attrgetter(*_CALL)
_OF_ATTEMPT: Getter = attrgetter(*_ATTEMPT)
_OF_TOKENS: Getter = attrgetter(*_TOKENS)
_OF_LABELS: Getter = attrgetter(*_LABELS)


def abandoned(opening: Opening) -> LedgerCall:
    """The row of a call of which nothing is known but how it began.

    Its tokens and their cost are an estimate. It may have used more, so budgets count all that it could.
    """
    worst = opening.worst
    bound = worst.cost_pico
    return LedgerCall(
        tenant=opening.principal.tenant,
        call_id=opening.call_id,
        subject=storable(opening.principal.subject),
        labels=opening.labels,
        operation=opening.operation,
        model_asked=storable(opening.model),
        model_answered=None,
        deployment=None,
        streamed=False,
        tokens=worst.estimate,
        cost_pico=worst.estimated_pico,
        currency=worst.currency,
        priced=bound is not None,
        estimated=True,
        emulated=None,
        outcome="aborted",
        status=500,
        error_code=GATEWAY_DIED,
        latency_ms=0,
        first_token_ms=None,
        trace_id=opening.trace_id,
        created_at=opening.created_at,
        reaped=True,
        held_pico=None if bound is None else min(bound, MAX_PICO),
    )


def encode(row: LedgerCall) -> bytes:
    """The row as JSON; of tokens and labels what is said at all.

    Records become mappings here: orjson takes five times as long for those with slots.
    """
    members = _members(row, _CALL, _OF_CALL)
    members["tokens"] = _tokens(row.tokens)
    members["labels"] = {} if row.labels is NO_LABELS else _members(row.labels, _LABELS, _OF_LABELS)
    attempts = []
    for each in row.attempts:
        attempt = _members(each, _ATTEMPT, _OF_ATTEMPT)
        attempt["tokens"] = _tokens(each.tokens)
        attempts.append(attempt)
    members["attempts"] = attempts
    return orjson.dumps(members)


def _members(value: object, names: Names, get: Getter) -> dict[str, Any]:
    return dict(zip(names, get(value), strict=True))


def _tokens(tokens: Tokens) -> dict[str, Any]:
    if tokens.has_parts:
        return _members(tokens, _TOKENS, _OF_TOKENS)
    return {"input": tokens.input, "output": tokens.output}


def decode(record: bytes) -> LedgerCall:
    """The row of a record. What another version has written that this one does not know is left out.

    Raises:
        ValueError: it is none.
    """
    found = orjson.loads(record)
    try:
        return LedgerCall(
            **{
                **_known(LedgerCall, found),
                "labels": Labels(**_known(Labels, found["labels"])),
                "tokens": Tokens(**_known(Tokens, found["tokens"])),
                "attempts": tuple(_attempt(each) for each in found["attempts"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no record of a call: {error}") from error


def _attempt(found: dict[str, Any]) -> LedgerAttempt:
    return LedgerAttempt(
        **{**_known(LedgerAttempt, found), "tokens": Tokens(**_known(Tokens, found["tokens"]))}
    )


def _known(kind: type, found: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in found.items() if name in names}
