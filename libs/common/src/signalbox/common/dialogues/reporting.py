"""Outcomes as lines for people, and as JUnit's XML for build servers."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from signalbox.common.dialogues.playing import Outcome


def as_lines(outcome: Outcome) -> list[str]:
    """One line for a dialogue that went well; for another one what happened up to the difference, and that."""
    mark = "ok  " if outcome.passed else "FAIL"
    lines = [f"{mark} {outcome.dialogue.id} ({outcome.seconds:.2f} s)"]
    if outcome.passed:
        return lines
    for played in outcome.turns:
        lines.append(f"     {played.number}. {played.turn.act}")
        if not played.differences:
            lines.append(f"        said {played.answer.said[:200]!r}")
        for difference in played.differences:
            lines += [f"        {line}" for line in difference.lines()]
    if outcome.broken is not None:
        lines.append(f"     {outcome.broken}")
    return lines


def as_junit(outcomes: Sequence[Outcome]) -> bytes:
    """JUnit's XML: one suite, one case for each dialogue."""
    suite = Element("testsuite", name="dialogues", tests=str(len(outcomes)))
    suite.set("failures", str(sum(not outcome.passed and outcome.broken is None for outcome in outcomes)))
    suite.set("errors", str(sum(outcome.broken is not None for outcome in outcomes)))
    suite.set("time", f"{sum(outcome.seconds for outcome in outcomes):.3f}")
    for outcome in outcomes:
        case = SubElement(suite, "testcase", classname="dialogues", name=outcome.dialogue.id)
        case.set("time", f"{outcome.seconds:.3f}")
        if not outcome.passed:
            kind = "error" if outcome.broken is not None else "failure"
            found = SubElement(case, kind, message=outcome.broken or "not as expected")
            found.text = _printable("\n".join(as_lines(outcome)))
    return bytes(tostring(suite, encoding="utf-8", xml_declaration=True))


def _printable(text: str) -> str:
    """Text that XML 1.0 can hold."""
    return "".join(character if character in "\n\t" or character >= " " else "\ufffd" for character in text)
