"""Caps on messages and on what models may cost, checked before any model is asked."""

from signalbox.workflow.caps.checks import Caps, MessageTooLong
from signalbox.workflow.caps.repository import SqlSpending

__all__ = ["Caps", "MessageTooLong", "SqlSpending"]
