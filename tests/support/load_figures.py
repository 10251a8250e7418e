"""What a load came to: its messages held against the stored history and what the backend carried out."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from support.load_workflow import Kind

Exchange = tuple[str, str]
"""Role and text of one stored message."""

_SHOWN = 5


@dataclass(slots=True)
class Sent:
    """One message of a load and what its client was told.

    ``answer`` is the text of the reply; an async query is acknowledged before it has one, and keeps None when its
    result is an error or never comes.
    """

    session: str
    text: str
    kind: Kind
    acknowledged: bool = False
    answer: str | None = None
    status: str = ""
    refusal: str = ""
    """What its last attempt that was not acknowledged ended with."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one load: messages, not requests. ``longest_gap_s`` is the longest time without an acknowledgement.

    ``failed`` were given up by their clients without an acknowledgement; ``lost``, ``duplicated`` and ``misordered``
    are wrong in the history, ``effects_twice`` at the backend. ``findings`` says which, the first few.
    """

    sent: int
    acknowledged: int
    failed: int
    lost: int
    duplicated: int
    misordered: int
    effects_twice: int
    attempts: int = 0
    longest_gap_s: float = 0.0
    seconds: float = 0.0
    findings: tuple[str, ...] = field(default=(), repr=False)

    def line(self, name: str) -> str:
        """One line to print."""
        return (
            f"{name}: {self.sent} sent, {self.acknowledged} acknowledged, {self.failed} failed, {self.lost} lost,"
            f" {self.duplicated} duplicated, {self.misordered} misordered, {self.effects_twice} effects twice,"
            f" longest gap {self.longest_gap_s:.1f} s ({self.attempts} requests in {self.seconds:.0f} s)"
        )

    def check(self, *, failed: int = 0) -> None:
        """AssertionError where something was lost or done twice, or more than ``failed`` were never acknowledged."""
        assert self.sent, "nothing was sent"
        wrong = self.lost + self.duplicated + self.misordered + self.effects_twice
        assert wrong == 0, f"{self.line('wrong')}; {'; '.join(self.findings)}"
        assert self.failed <= failed, f"{self.line('not acknowledged')}; {'; '.join(self.findings)}"


def compare(
    sent: Sequence[Sent],
    histories: Mapping[str, Sequence[Exchange]],
    effects: Mapping[str, int],
) -> Figures:
    """Hold what clients were told against the history of each session and the number of effects of each message."""
    findings: dict[str, list[str]] = {name: [] for name in ("lost", "duplicated", "misordered", "twice")}
    by_session: dict[str, list[Sent]] = {}
    for message in sent:
        by_session.setdefault(message.session, []).append(message)
    for session, messages in by_session.items():
        history = histories.get(session, ())
        stored = Counter(text for role, text in history if role == "user")
        for message in messages:
            if stored[message.text] > 1:
                findings["duplicated"].append(f"{message.text} is stored {stored[message.text]} times")
            if message.acknowledged and (why := _lost(message, history, effects)):
                findings["lost"].append(f"{message.text}: {why}")
            if effects.get(message.text, 0) > 1:
                findings["twice"].append(f"{message.text} was written {effects[message.text]} times")
        findings["misordered"] += _misordered(messages, history)
    acknowledged = sum(message.acknowledged for message in sent)
    unheard = [f"{message.text}: {message.refusal}" for message in sent if not message.acknowledged]
    return Figures(
        sent=len(sent),
        acknowledged=acknowledged,
        failed=len(sent) - acknowledged,
        lost=len(findings["lost"]),
        duplicated=len(findings["duplicated"]),
        misordered=len(findings["misordered"]),
        effects_twice=len(findings["twice"]),
        findings=tuple(line for lines in (*findings.values(), unheard) for line in lines[:_SHOWN]),
    )


def _lost(message: Sent, history: Sequence[Exchange], effects: Mapping[str, int]) -> str:
    """Why an acknowledged message counts as lost; empty when it does not."""
    if message.answer is None:
        return f"its result never came ({message.status or 'no status'})"
    exchange = (("user", message.text), ("assistant", message.answer))
    if exchange not in itertools.pairwise(history):
        return f"not stored with the answer {message.answer!r}"
    if message.kind.writes and message.status == "success" and not effects.get(message.text):
        return "answered as written, and was not"
    return ""


def _misordered(messages: Iterable[Sent], history: Sequence[Exchange]) -> list[str]:
    """Sessions that hold acknowledged messages in another order; async ones take their turn when they are worked on."""
    said = [message.text for message in messages if message.acknowledged and message.kind is not Kind.ASYNC]
    stored = [text for role, text in history if role == "user" and text in set(said)]
    kept = list(dict.fromkeys(stored))
    expected = [text for text in said if text in set(kept)]
    return [] if kept == expected else [f"said {expected}, stored {kept}"]
