"""What an import has to say: what could not be carried over, what was changed, which secrets are to be set."""

from collections.abc import Iterable
from typing import Any, Literal

from signalbox.common.pointers import Path, pointer
from signalbox.common.record import record

NoteKind = Literal["lost", "secret", "changed"]
_HEADINGS: dict[NoteKind, str] = {
    "lost": "Not carried over",
    "secret": "Secrets to be set",
    "changed": "Carried over in another form",
}


@record
class Note:
    """One thing to know about an import. No part of it repeats a value of the file: values may be secrets."""

    kind: NoteKind
    pointer: str
    """JSON pointer (RFC 6901) in the earlier file."""
    what: str
    why: str
    advice: str
    """What to do about it."""


class Report:
    """Collects notes, each place and statement once."""

    def __init__(self) -> None:
        self._notes: dict[tuple[NoteKind, str, str], Note] = {}

    @property
    def notes(self) -> list[Note]:
        """All notes: what is lost first, then secrets, then changes; each in the order of the file."""
        order: list[NoteKind] = list(_HEADINGS)
        return sorted(self._notes.values(), key=lambda note: order.index(note.kind))

    @property
    def complete(self) -> bool:
        """Whether everything was carried over, so that nothing is left to be done by hand."""
        return all(note.kind == "changed" for note in self._notes.values())

    def lost(self, path: Path, what: str, why: str, advice: str) -> None:
        """Note what the new document does not hold."""
        self._add(Note("lost", pointer(path), what, why, advice))

    def changed(
        self, path: Path, what: str, why: str, advice: str = "Check that it does what you mean."
    ) -> None:
        """Note what the new document says in another form."""
        self._add(Note("changed", pointer(path), what, why, advice))

    def secret(self, path: Path, reference: str | None) -> None:
        """Note a credential that was a value; ``reference`` is what stands in its place, none where nothing does."""
        why = "a workflow refers to secrets and never holds them, so the value was not written."
        if reference is None:
            advice = "Keep it as a secret, refer to it under `auth`, and replace it: it has been in a file."
            self._add(Note("secret", pointer(path), "a credential", why, advice))
            return
        name = reference.removeprefix("secret:")
        advice = (
            f"Give the secret `{name}` its value in the secret store, and replace it: it has been in a file."
        )
        self._add(Note("secret", pointer(path), f"a credential, now `{reference}`", why, advice))

    def mentions(self, path: Path) -> bool:
        """Whether there is a note about a secret at a path."""
        return any(note.kind == "secret" and note.pointer == pointer(path) for note in self._notes.values())

    def _add(self, note: Note) -> None:
        self._notes.setdefault((note.kind, note.pointer, note.what), note)


def as_text(notes: Iterable[Note]) -> str:
    """Notes as lines for people, under a heading for each kind."""
    lines: list[str] = []
    noted = list(notes)
    for kind, heading in _HEADINGS.items():
        chosen = [note for note in noted if note.kind == kind]
        if chosen:
            lines.append(f"{heading} ({len(chosen)}):")
        for note in chosen:
            lines.append(f"  {note.pointer or '/'}: {note.what}: {note.why}")
            lines.append(f"    -> {note.advice}")
    return "\n".join(lines)


def as_json(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """Notes as JSON data."""
    return [
        {
            "kind": note.kind,
            "pointer": note.pointer,
            "what": note.what,
            "why": note.why,
            "advice": note.advice,
        }
        for note in notes
    ]
