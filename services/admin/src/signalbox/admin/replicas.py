"""The replicas of all services that follow the change feed: who they are, and what they have."""

import asyncio
from collections.abc import Callable

from signalbox.admin.ports import ReplicaStore
from signalbox.admin.records import Replica
from signalbox.common.ids import now_ms

_LOOK_S = 0.05


class LocalReplicas:
    """``ReplicaStore`` in memory, for the one process of Admin that SQLite allows.

    Every follower polls this process, so its memory knows them all; in a file, each poll would cost a laptop
    a write to the disk.
    """

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}

    async def saw(self, replica: Replica) -> None:
        """See ``ReplicaStore.saw``."""
        self._replicas[replica.instance] = replica

    async def gone(self, instance: str) -> None:
        """See ``ReplicaStore.gone``."""
        self._replicas.pop(instance, None)

    async def live(self, now: int) -> list[Replica]:
        """See ``ReplicaStore.live``."""
        self._replicas = {name: known for name, known in self._replicas.items() if known.lease_until >= now}
        return list(self._replicas.values())


async def all_become(
    replicas: ReplicaStore, condition: Callable[[Replica], bool], timeout_s: float
) -> list[Replica]:
    """Wait until every live replica meets ``condition``; returns those that do not when the time is up.

    One that comes meanwhile has to meet it too; one that falls silent stops counting when its lease ends.
    Looks again and again, because a replica may be polling another process of Admin.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        behind = [replica for replica in await replicas.live(now_ms()) if not condition(replica)]
        if not behind or loop.time() >= end:
            return behind
        await asyncio.sleep(_LOOK_S)
