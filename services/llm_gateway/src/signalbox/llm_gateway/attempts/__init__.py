"""Attempts at providers that become one answer, in the order that routing says."""

from signalbox.llm_gateway.attempts.answering import Attempts

__all__ = ["Attempts"]
