"""A stack to run load through: pairs of every service, workers, the workflow of the load, and what it writes to."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.keyed_backend import KeyedBackend
from support.load_workflow import model_rules
from support.systems import READY_S
from support.turn_load import publish_load

from signalbox_fake_provider import FakeProvider
from signalbox_local import PostgresServer, RedisServer, ServicesStack

PAIRED = ("workflow", "flows", "tools", "skills", "llm_gateway")
"""What there are two replicas of; Admin is one."""

_FEW_CONNECTIONS = {"max_connections": "150"}
"""Enough for twelve processes, and few enough to be taken in seconds."""


@dataclass(frozen=True)
class LoadedStack:
    """The stack, the backend of its workflow and the model of its agent."""

    stack: ServicesStack
    backend: KeyedBackend
    provider: FakeProvider


@contextmanager
def loaded_stack(directory: Path, env: Mapping[str, str] | None = None) -> Iterator[LoadedStack]:
    """Start it on stores of its own, which may be broken; ``env`` adds to the settings of all services."""
    with ExitStack() as held:
        provider = held.enter_context(FakeProvider(model_rules(), process=True))
        backend = held.enter_context(KeyedBackend(honours_keys=True))
        settings = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "any",
            "SIGNALBOX_OLLAMA_URL": "",
            "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]',
            # What the defaults say in tens of seconds, in seconds.
            "SIGNALBOX_TASK_STALE_MS": "2000",
            "SIGNALBOX_TASK_REQUEUE_MS": "3000",
            **(env or {}),
        }
        stack = ServicesStack(
            directory,
            env=settings,
            postgres=held.enter_context(PostgresServer(own=True, settings=_FEW_CONNECTIONS)),
            redis=held.enter_context(RedisServer(own=True)),
            replicas=dict.fromkeys(PAIRED, 2),
            workers=2,
        )
        held.callback(stack.stop)
        stack.start(READY_S)
        publish_load(stack.edge_url, backend)
        yield LoadedStack(stack, backend, provider)
