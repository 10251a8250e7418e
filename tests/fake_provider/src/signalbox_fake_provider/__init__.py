"""An HTTP server that speaks the OpenAI protocol with scripted answers, latencies and faults."""

from signalbox_fake_provider.app import DEFAULT_MODELS
from signalbox_fake_provider.embeddings import vector_of
from signalbox_fake_provider.faults import FaultKind
from signalbox_fake_provider.fields import ScriptError
from signalbox_fake_provider.provider import FakeProvider
from signalbox_fake_provider.records import RequestRecord
from signalbox_fake_provider.tokens import tokens_of

__all__ = [
    "DEFAULT_MODELS",
    "FakeProvider",
    "FaultKind",
    "RequestRecord",
    "ScriptError",
    "tokens_of",
    "vector_of",
]
