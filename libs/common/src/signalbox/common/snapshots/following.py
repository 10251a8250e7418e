"""Following Admin as a part of a service's wiring: its snapshots and its feed, started and stopped together."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from signalbox.common.auth import Authenticator
from signalbox.common.clients import AdminClient
from signalbox.common.platform import Platform
from signalbox.common.settings import CommonSettings
from signalbox.common.snapshots.feed import ConfigFeed
from signalbox.common.snapshots.store import Snapshots
from signalbox.contracts.admin import ServiceName, SnapshotDocument

CompiledT = TypeVar("CompiledT")

DEFAULT_SNAPSHOT_BYTES = 256 * 1024 * 1024


class ConfigFollower(Generic[CompiledT]):
    """What a service knows of Admin. An async context: it follows while it is entered."""

    def __init__(
        self,
        service: ServiceName,
        settings: CommonSettings,
        platform: Platform,
        authenticator: Authenticator,
        compile_snapshot: Callable[[SnapshotDocument], CompiledT],
        max_bytes: int = DEFAULT_SNAPSHOT_BYTES,
        weigh: Callable[[SnapshotDocument], int] | None = None,
    ) -> None:
        admin = platform.client(AdminClient, service)
        directory = settings.data / service
        self.snapshots = Snapshots(
            admin,
            compile_snapshot,
            directory / "snapshots",
            max_bytes,
            weigh,
            settings.snapshot_disk_bytes,
        )
        self.feed = ConfigFeed(
            service,
            settings.environment,
            admin,
            directory,
            snapshots=self.snapshots,
            keys=authenticator.keys,
        )

    async def __aenter__(self) -> Self:
        await self.feed.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.feed.stop()
