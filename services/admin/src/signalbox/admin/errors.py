"""Errors of the Admin service.

::

    SignalboxError
    ├── InvalidDocument      422  the workflow document is wrong; nothing was stored
    ├── BuildFailed          422  nothing can be built from it; nothing was kept
    ├── KeyNotGrantable      422  a key with these scopes or this expiry cannot be made
    ├── GrantExceeded        403  the creator does not hold what the key is to have
    ├── WorkflowForbidden    403  the credential is for other workflows
    ├── SnapshotNotFound     404
    ├── WorkflowNotFound     404
    ├── KeyNotFound          404
    ├── ReleaseContended     409  others activated releases of the workflow at the same time
    ├── BuilderUnavailable   503  the Workflow service does not answer; the snapshot is stored
    ├── ReplicasNotReady     503  a replica could not load the snapshot; the release is as it was
    └── StateUnknown         503  the database has not been reached since the start
"""

from collections.abc import Sequence

from signalbox.common.errors import Conflict, Forbidden, NotFound, Unavailable, ValidationFailed
from signalbox.contracts.problem import ProblemError


class InvalidDocument(ValidationFailed):
    """The workflow document is wrong. The pointers of ``errors`` are into the document."""

    code = "invalid_document"
    title = "Invalid workflow document"

    def __init__(self, errors: Sequence[ProblemError]) -> None:
        super().__init__(
            f"The workflow document has {len(errors)} error(s); 'errors' names each, with a pointer into it.",
            errors=errors,
        )


class BuildFailed(ValidationFailed):
    """What the document needs cannot be built. The pointers of ``errors`` are into the document."""

    code = "build_failed"
    title = "Build failed"

    def __init__(self, errors: Sequence[ProblemError]) -> None:
        super().__init__(
            f"Building the workflow found {len(errors)} error(s); 'errors' names each, with a pointer into "
            "the document.",
            errors=errors,
        )


class KeyNotGrantable(ValidationFailed):
    """No API key can be as asked for."""

    code = "key_not_grantable"


class GrantExceeded(Forbidden):
    """A key may not be given more than its creator has."""

    code = "grant_exceeded"


class WorkflowForbidden(Forbidden):
    """The credential is for other workflows."""

    code = "workflow_forbidden"

    def __init__(self, workflow_id: str) -> None:
        super().__init__(
            f"This key is not for the workflow '{workflow_id}'; use one that is, or one for all workflows."
        )


class SnapshotNotFound(NotFound):
    """No such snapshot for this principal."""

    code = "snapshot_not_found"

    def __init__(self, config_hash: str) -> None:
        super().__init__(f"There is no snapshot {config_hash}; publish its document first.")


class WorkflowNotFound(NotFound):
    """No such workflow for this principal."""

    code = "workflow_not_found"

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"There is no workflow '{workflow_id}'; publish one first.")


class KeyNotFound(NotFound):
    """No such API key in this tenant."""

    code = "key_not_found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no API key '{key_id}'.")


class ReleaseContended(Conflict):
    """Several others activated releases of the workflow at the same time."""

    code = "release_contended"

    def __init__(self, workflow_id: str) -> None:
        super().__init__(
            f"Others are activating releases of '{workflow_id}' right now; look at the newest one, then try again."
        )


class BuilderUnavailable(Unavailable):
    """The Workflow service, which builds snapshots, does not answer."""

    code = "builder_unavailable"

    def __init__(self, config_hash: str, reason: str) -> None:
        super().__init__(
            f"The Workflow service, which builds snapshots, does not do so now ({reason.rstrip('.')}). "
            f"Snapshot {config_hash[:12]}... is stored; publish again to go on from there.",
            headers={"Retry-After": "2"},
        )


class ReplicasNotReady(Unavailable):
    """A replica did not load the snapshot in time; nothing was activated."""

    code = "replicas_not_ready"

    def __init__(self, config_hash: str, replicas: Sequence[str]) -> None:
        super().__init__(
            f"Snapshot {config_hash[:12]}... is not active, because {', '.join(replicas)} did not load it in "
            "time; the log there says why. Publish again when it is repaired.",
            headers={"Retry-After": "2"},
        )


class StateUnknown(Unavailable):
    """The database has not been reached since this process started."""

    code = "state_unknown"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Admin has not been able to read its database since it started: {reason}")
