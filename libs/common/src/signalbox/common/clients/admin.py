"""Client of the Admin service's internal calls: the change feed and the snapshots."""

from signalbox.common.clients.base import ServiceClient
from signalbox.contracts.admin import ChangesReply, ChangesRequest, SnapshotDocument, SnapshotRef


class AdminClient(ServiceClient):
    """Follows Admin."""

    service = "admin"

    async def changes(self, request: ChangesRequest) -> ChangesReply:
        """Wait until there is something newer than ``request.after``, or the wait is over."""
        return await self._call(
            "POST",
            "/internal/v1/admin/changes",
            ChangesReply,
            request,
            timeout_s=request.wait_ms / 1000 + 5,
        )

    async def snapshot(self, ref: SnapshotRef) -> SnapshotDocument:
        """A stored snapshot of a tenant by its hash."""
        return await self._call(
            "GET",
            f"/internal/v1/admin/snapshots/{ref.tenant}/{ref.config_hash}",
            SnapshotDocument,
            timeout_s=30.0,
        )
