"""Real PostgreSQL, Redis, Traefik and the Signalbox services as local processes."""

from signalbox_local.errors import (
    BinaryNotFoundError,
    LocalError,
    NotManagedError,
    NotReadyError,
    PortTakenError,
)
from signalbox_local.one_process import OneProcess
from signalbox_local.ports import free_port, port_is_free
from signalbox_local.postgres import PostgresServer
from signalbox_local.processes import ManagedProcess
from signalbox_local.redis import RedisServer
from signalbox_local.stack import SERVICES, ServicesStack
from signalbox_local.system import LocalSystem
from signalbox_local.traefik import TraefikServer

__all__ = [
    "SERVICES",
    "BinaryNotFoundError",
    "LocalError",
    "LocalSystem",
    "ManagedProcess",
    "NotManagedError",
    "NotReadyError",
    "OneProcess",
    "PortTakenError",
    "PostgresServer",
    "RedisServer",
    "ServicesStack",
    "TraefikServer",
    "free_port",
    "port_is_free",
]
