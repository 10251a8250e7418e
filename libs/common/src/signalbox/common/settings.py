"""Settings that every service has. Environment variables start with ``SIGNALBOX_``; none has to be set."""

import contextlib
import secrets
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from signalbox.common.errors import SignalboxError
from signalbox.contracts.admin import ServiceName

SERVICE_NAMES: tuple[ServiceName, ...] = ("admin", "llm_gateway", "tools", "flows", "skills", "workflow")
"""All services, each after those that it calls."""

SERVICE_OF: dict[str, ServiceName] = {str(name): name for name in SERVICE_NAMES}
"""Service names by their text."""

DEFAULT_PORTS: dict[ServiceName, int] = {
    "workflow": 8001,
    "skills": 8002,
    "flows": 8003,
    "tools": 8004,
    "llm_gateway": 8005,
    "admin": 8006,
}


class SettingsError(SignalboxError):
    """The settings cannot work; the sentence says which one to change."""

    code = "bad_settings"


class CommonSettings(BaseSettings):
    """What the process and every service in it need to know."""

    model_config = SettingsConfigDict(
        env_prefix="SIGNALBOX_",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on. Another than loopback needs ``auth=keys``."""
    data: Path = Path(".signalbox")
    """Directory of SQLite files, fetched snapshots and the generated service secret."""
    snapshot_disk_bytes: int = Field(default=1024 * 1024 * 1024, ge=0)
    """Disk under ``data`` that each service's copies of published workflows may take, besides the active ones. Those
    used longest ago are removed first, and fetched from Admin when somebody asks."""
    database_url: str | None = Field(
        default=None, validation_alias=AliasChoices("SIGNALBOX_DATABASE_URL", "DATABASE_URL", "database_url")
    )
    """``postgresql://...``; none keeps one SQLite file per service under ``data``."""
    redis_url: str | None = Field(
        default=None, validation_alias=AliasChoices("SIGNALBOX_REDIS_URL", "REDIS_URL", "redis_url")
    )
    """``redis://...``; none keeps the cache in memory."""
    database_pool: int = Field(default=8, ge=1, le=200)
    """PostgreSQL connections per process."""
    auth: Literal["local", "keys"] = "local"
    """``local``: a request without a credential is the operator of this machine; loopback only.
    ``keys``: every request needs an API key."""
    hosts: list[str] = []
    """JSON list: further host names to answer to with ``auth=local``, besides localhost and 127.0.0.1."""
    service_secret: SecretStr | None = None
    """Signs the tokens of calls between services; all services of one installation share it. None makes one
    and keeps it under ``data``."""
    secrets_dir: Path | None = None
    """Directory with one file per secret, as Kubernetes mounts them."""
    environment: str = "default"
    """The environment whose releases this installation runs."""
    variables: dict[str, str] = {}
    """JSON object: values that replace workflow variables of the same name."""
    outbound_allow: list[str] = []
    """JSON list: private hosts (``host``, ``host:port`` or CIDR) that tools and webhooks may call."""
    workflow_url: str = "http://127.0.0.1:8001"
    skills_url: str = "http://127.0.0.1:8002"
    flows_url: str = "http://127.0.0.1:8003"
    tools_url: str = "http://127.0.0.1:8004"
    llm_gateway_url: str = "http://127.0.0.1:8005"
    admin_url: str = "http://127.0.0.1:8006"
    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "SIGNALBOX_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"
        ),
    )
    """Base URL of an OTLP/HTTP receiver such as Jaeger's ``http://host:4318``; none sends no traces."""
    trace_file: Path | None = None
    """Append finished spans here, one JSON object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    """A larger request body is answered with 413."""
    drain_seconds: float = Field(default=3.0, ge=0)
    """How long running requests may take to end after SIGTERM."""

    @model_validator(mode="after")
    def _loopback_without_auth(self) -> Self:
        if self.auth == "local" and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError(
                f"refusing to listen on {self.host} without authentication: "
                "set SIGNALBOX_AUTH=keys, or listen on 127.0.0.1"
            )
        return self

    def service_url(self, service: ServiceName) -> str:
        """Base URL of another service; several, comma-separated, are replicas."""
        urls: dict[ServiceName, str] = {
            "workflow": self.workflow_url,
            "skills": self.skills_url,
            "flows": self.flows_url,
            "tools": self.tools_url,
            "llm_gateway": self.llm_gateway_url,
            "admin": self.admin_url,
        }
        return urls[service]

    def database_url_of(self, service: ServiceName) -> str:
        """The database of a service: the shared PostgreSQL, or the service's own SQLite file."""
        if self.database_url:
            return self.database_url
        return f"sqlite:///{(self.data / f'{service}.db').absolute()}"

    def load_service_secret(self) -> str:
        """The secret that signs service tokens: the setting, else one made at first use and kept under ``data``."""
        if self.service_secret is not None:
            return self.service_secret.get_secret_value()
        path = self.data / "service-secret"
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            candidate = self.data / f"service-secret.{secrets.token_hex(4)}"
            candidate.touch(mode=0o600)
            candidate.write_text(secrets.token_urlsafe(48), encoding="utf-8")
            with contextlib.suppress(FileExistsError):
                # A link appears whole or not at all: of several processes that start together, one wins.
                path.hardlink_to(candidate)
            candidate.unlink()
        return path.read_text(encoding="utf-8").strip()
