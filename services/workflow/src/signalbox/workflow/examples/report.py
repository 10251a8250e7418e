"""What a build says about its classifier: how it does on held-out examples, and which examples hurt."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from signalbox.workflow.examples.classifier import ExampleClassifier

_MOST_CONFUSIONS: Final = 20
_MOST_HURTING: Final = 30


@dataclass(frozen=True, slots=True)
class HeldOut:
    """An example, and what a model that had not seen it says."""

    text: str
    intent: str
    taken_for: str
    margin: float
    familiar: float

    @property
    def right(self) -> bool:
        """Whether the model named its intent."""
        return self.intent == self.taken_for


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two intents that are mixed up, and how often."""

    intent: str
    taken_for: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Hurting:
    """An example that looks like it belongs to another intent: ``score`` says how sure the others are."""

    intent: str
    example: str
    taken_for: str
    score: float


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one training. Shares are 0 to 1, of ``held_out`` examples; None where nothing could be held out."""

    intents: int
    examples: int
    features: int
    memory_bytes: int
    held_out: int
    accuracy: float | None
    in_scope_kept: float | None
    """The share of held-out examples that is not taken for out of scope."""
    out_of_scope_recall: float | None
    """The share of messages of left-out intents that is: they are harder than what is really out of scope."""
    routed: float | None
    """The share of held-out examples that is routed without asking a model."""
    routed_right: float | None
    reject: float
    accept: float
    confusions: list[Confusion]
    hurting: list[Hurting]
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


def report_of(
    held: Sequence[HeldOut], classifier: "ExampleClassifier", examples: int, recall: float | None
) -> Report:
    """Sum up what was held out."""
    rule = classifier.calibration
    kept = [entry for entry in held if entry.familiar >= rule.reject]
    routed = [entry for entry in kept if rule.score(entry.margin, entry.familiar) >= rule.accept]
    wrong = [(rule.score(entry.margin, entry.familiar), entry) for entry in held if not entry.right]
    wrong.sort(key=lambda pair: (-pair[0], pair[1].intent, pair[1].text))
    return Report(
        intents=len(classifier.intents),
        examples=examples,
        features=classifier.features,
        memory_bytes=classifier.size,
        held_out=len(held),
        accuracy=_share(sum(entry.right for entry in held), len(held)),
        in_scope_kept=_share(len(kept), len(held)),
        out_of_scope_recall=None if recall is None else round(recall, 4),
        routed=_share(len(routed), len(held)),
        routed_right=_share(sum(entry.right for entry in routed), len(routed)),
        reject=rule.reject,
        accept=rule.accept,
        confusions=_confusions([entry for _, entry in wrong]),
        hurting=[
            Hurting(entry.intent, entry.text, entry.taken_for, round(score, 3))
            for score, entry in wrong[:_MOST_HURTING]
        ],
    )


def _confusions(wrong: Sequence[HeldOut]) -> list[Confusion]:
    counts = Counter((entry.intent, entry.taken_for) for entry in wrong)
    first: dict[tuple[str, str], str] = defaultdict(str)
    for entry in reversed(wrong):
        first[entry.intent, entry.taken_for] = entry.text
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(*pair, count, first[pair]) for pair, count in ranked[:_MOST_CONFUSIONS]]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def as_text(report: Report) -> str:
    """The report in words, for a terminal."""
    lines = [
        f"{report.examples} examples of {report.intents} intents, {report.features} features",
        f"trained in {report.seconds:.1f} s, {report.memory_bytes / 1e6:.1f} MB in memory",
        f"accuracy                   {_percent(report.accuracy)} of {report.held_out} examples that were held out",
        f"not taken for out of scope {_percent(report.in_scope_kept)}",
        f"out-of-scope recall        {_percent(report.out_of_scope_recall)} of messages of intents that were left out",
        f"routed without a model     {_percent(report.routed)}, of them right {_percent(report.routed_right)}",
        f"thresholds                 accept {report.accept:.3f}, familiar from {report.reject:.3f}",
    ]
    if report.confusions:
        lines += ["", "taken for another intent:"]
        lines += [
            f"  {entry.count:4d}  {entry.intent} -> {entry.taken_for}: {entry.example}"
            for entry in report.confusions
        ]
    if report.hurting:
        lines += ["", "examples that hurt (they look like another intent's):"]
        lines += [
            f"  {entry.score:.2f}  {entry.intent} -> {entry.taken_for}: {entry.example}"
            for entry in report.hurting
        ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "   - " if share is None else f"{share:6.1%}"
