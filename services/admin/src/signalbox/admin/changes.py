"""What changed after which revision, so that followers are told that instead of everything."""

from collections.abc import Sequence

from signalbox.admin.records import State
from signalbox.contracts.admin import ReleasePointer
from signalbox.contracts.identity import KeyRecord

_Name = tuple[str, str, str]


class Changes:
    """When each release, and the keys, last changed, as far as this process has seen them change.

    Found by comparing each state with the one before, not by what writers say: an older replica of Admin, which
    shares the database while versions are changed, says nothing. A change is numbered by the latest revision that
    it can have, so a follower may be told of it twice, and is never not told.
    """

    def __init__(self) -> None:
        self._floor: int | None = None
        """The revision from which on every change was seen; None before the first state."""
        self._releases: dict[_Name, tuple[ReleasePointer, int]] = {}
        self._keys: tuple[KeyRecord, ...] = ()
        self._keys_at = 0

    def note(self, state: State, latest: int) -> None:
        """Take ``state`` for the newest; ``latest`` is the revision after all of it was read."""
        if self._floor is None:
            self._floor = latest
        before = self._releases
        self._releases = {}
        for pointer in state.releases:
            name = (pointer.tenant, pointer.environment, pointer.workflow_id)
            known = before.pop(name, None)
            self._releases[name] = known if known is not None and known[0] == pointer else (pointer, latest)
        if before:
            # A release was taken away, which a list of changed ones cannot say: all are told anew.
            self._floor = latest
        if state.keys != self._keys:
            self._keys, self._keys_at = state.keys, latest

    def covers(self, after: int) -> bool:
        """Whether all that changed after that revision is known."""
        return self._floor is not None and after >= self._floor

    def releases(self, after: int) -> Sequence[ReleasePointer]:
        """The releases that changed after a revision that is covered; it may be that others are among them."""
        return [pointer for pointer, at in self._releases.values() if at > after]

    def same_keys(self, after: int) -> bool:
        """Whether no key changed after a revision that is covered."""
        return self._keys_at <= after
