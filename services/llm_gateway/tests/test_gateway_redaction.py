"""What is taken out of texts that are kept, and what is left."""

import time

import pytest

from signalbox.llm_gateway.telemetry.redaction import redacted

TAKEN = [
    ("mail ana.b+shop@example.co.uk now", "mail [email] now"),
    ("card 4111 1111 1111 1111.", "card [card]."),
    ("card 5500-0055-5555-5559,", "card [card],"),
    ("amex 378282246310005", "amex [card]"),
    ("key sk-proj-abcDEF1234567890 ok", "key [secret] ok"),
    ("sbx_live_0123456789abcdef", "[secret]"),
    ("ghp_0123456789abcdefghij0123456789abcdef", "[secret]"),
    ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "[secret]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after", "[secret] after"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE and cut", "[secret]"),
    ("Authorization: Bearer abc.def-123", "Authorization: Bearer [secret]"),
    ("password = hunter", "password = [secret]"),
    ("my password is hunter2!", "my password is [secret]"),
    ('{"api_key": "abcd1234", "n": 1}', '{"api_key": "[secret]", "n": 1}'),
    ("API key: q1w2e3r4", "API key: [secret]"),
]
LEFT = [
    "Where is my order 1042?",
    "Order 4111 1111 1111 1112 and 1234567890123",
    "How do I make a password reset? The token expired; the secret is patience.",
    "Call 030 1234567 at 10:30 on 2026-01-02",
    "user@localhost, @handle, a@b",
    "The task-list of risk-management is disk-bound",
    "版本 2.14.3 的订单",
]


@pytest.mark.parametrize(("text", "kept"), TAKEN)
def test_secrets_addresses_and_cards_are_taken_out(text: str, kept: str) -> None:
    assert redacted(text) == kept


@pytest.mark.parametrize("text", LEFT)
def test_what_is_none_of_them_is_left(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a" * 9_000,
        "1 " * 4_500,
        "-----BEGIN PRIVATE KEY-----" * 300,
        "password " * 1_000,
        "a@" * 4_500,
        "eyJ." * 2_000,
    ],
)
def test_no_text_makes_it_slow(text: str) -> None:
    started = time.process_time()
    redacted(text)
    assert time.process_time() - started < 0.5
