"""The ledger's rows as JSON, written once for both who keep them: PostgreSQL takes them so, and Redis until then.

A row is an object whose members are the columns of its table. What is null or a count of zero is left out, as most of
most calls is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import NO_LABELS, Labels, LedgerAttempt, LedgerCall

Row = dict[str, Any]

_TOTALS = (("input_tokens", "input"), ("output_tokens", "output"))
_PARTS = (
    ("cached_tokens", "cached"),
    ("cache_write_tokens", "cache_write"),
    ("cache_write_1h_tokens", "cache_write_1h"),
    ("reasoning_tokens", "reasoning"),
    ("audio_input_tokens", "audio_input"),
    ("audio_output_tokens", "audio_output"),
    ("image_input_tokens", "image_input"),
    ("image_output_tokens", "image_output"),
)
_TOKENS = _TOTALS + _PARTS
"""Columns, and the field of ``Tokens`` in each."""

COUNTS = tuple(column for column, _ in _TOKENS)
"""Columns that are 0 where a row does not say them; ``reaped`` is too."""

_LABELS = tuple(each.name for each in fields(Labels))
_FLAGS = frozenset({"streamed", "priced", "estimated", "reaped"})


def lines_of(call: LedgerCall) -> Sequence[bytes]:
    """The row of a call, then those of its attempts; the same ones whenever they are asked for."""
    lines = call.lines
    if not lines:
        lines.append(orjson.dumps(_call_row(call)))
        lines.extend([orjson.dumps(_attempt_row(call, attempt)) for attempt in call.attempts])
    return lines


def _call_row(call: LedgerCall) -> Row:
    """The row of ``ledger_calls``."""
    labels, tokens = call.labels, call.tokens
    row: Row = {
        "tenant": call.tenant,
        "call_id": call.call_id,
        "subject": call.subject,
        "key_id": call.key_id,
        "purpose": labels.purpose,
        "operation": call.operation,
        "model_asked": call.model_asked,
        "model_answered": call.model_answered,
        "deployment": call.deployment,
        "streamed": int(call.streamed),
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cost_pico": call.cost_pico,
        "currency": call.currency,
        "priced": int(call.priced),
        "estimated": int(call.estimated),
        "outcome": call.outcome,
        "status": call.status,
        "latency_ms": call.latency_ms,
        "trace_id": call.trace_id,
        "created_at": call.created_at,
    }
    if labels is not NO_LABELS:
        row |= {name: getattr(labels, name) for name in _LABELS}
    if tokens.has_parts:
        row |= _parts(tokens)
    if call.first_token_ms is not None:
        row["first_token_ms"] = call.first_token_ms
    if call.error_code is not None:
        row["error_code"] = call.error_code
    if call.emulated is not None:
        row["emulated"] = call.emulated
    if call.cached is not None:
        row["cached"] = call.cached
    if call.held_pico is not None:
        row["held_pico"] = call.held_pico
    if call.reaped:
        row["reaped"] = 1
    return row


def _attempt_row(call: LedgerCall, attempt: LedgerAttempt) -> Row:
    """The row of ``ledger_attempts``."""
    tokens = attempt.tokens
    row: Row = {
        "tenant": call.tenant,
        "call_id": call.call_id,
        "number": attempt.number,
        "deployment": attempt.deployment,
        "model_answered": attempt.model_answered,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cost_pico": attempt.cost_pico,
        "currency": attempt.currency,
        "estimated": int(attempt.estimated),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "created_at": call.created_at,
    }
    if tokens.has_parts:
        row |= _parts(tokens)
    if attempt.error_code is not None:
        row["error_code"] = attempt.error_code
    if call.reaped:
        row["reaped"] = 1
    return row


def call_of(lines: Sequence[bytes]) -> LedgerCall:
    """The call whose rows these are. What another version has written that this one does not know is left out.

    Raises:
        ValueError: they are none.
    """
    try:
        row, *attempts = map(orjson.loads, lines)
        labels = Labels(**{name: row[name] for name in _LABELS if name in row})
        return LedgerCall(
            **_members(LedgerCall, row),
            labels=NO_LABELS if labels == NO_LABELS else labels,
            attempts=tuple(LedgerAttempt(**_members(LedgerAttempt, each)) for each in attempts),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"this is no record of a call: {error}") from error


def _parts(tokens: Tokens) -> dict[str, int]:
    return {column: getattr(tokens, kind) for column, kind in _PARTS}


def _members(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    names = [each.name for each in fields(kind) if each.name not in {"tokens", "labels", "attempts", "lines"}]
    found = {name: bool(row.get(name)) if name in _FLAGS else row.get(name) for name in names}
    if found["outcome"] is None:
        raise KeyError("outcome")
    return {**found, "tokens": Tokens(**{kind: row.get(column, 0) for column, kind in _TOKENS})}
