"""The example's own dialogues, as they stand in its directory: played side by side, each in a session of its own."""

from pathlib import Path

import pytest
import yaml
from support.public_api import PublicApi
from support.systems import SHOP_WORKFLOW, RunningSystem, shop_document

from signalbox.common.dialogues import Dialogue, Outcome, as_lines, play_all, read_dialogues

FILES = (SHOP_WORKFLOW.with_name("dialogues.yaml"), SHOP_WORKFLOW.with_name("dialogues"))
DIALOGUES = read_dialogues(FILES)
QUICK = "shop_quick"
DELAYS = {"still_there": 1, "close_when_silent": 7}
PARALLEL = 8


def waits(dialogue: Dialogue) -> bool:
    """Whether a dialogue waits for timers."""
    return any(turn.silence is not None for turn in dialogue.turns)


@pytest.fixture(scope="session")
def quick(example: RunningSystem, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example with timers of seconds, under another id."""
    document = {**shop_document(), "workflow_id": QUICK}
    timers = document["timers"]
    assert isinstance(timers, list)
    document["timers"] = [{**timer, "delay_seconds": DELAYS[timer["id"]]} for timer in timers]
    file: Path = tmp_path_factory.mktemp("quick") / "workflow.yaml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    example.local.run_cli("publish", str(file), "--url", example.url)
    return QUICK


@pytest.fixture(scope="session")
def outcomes(customer: PublicApi, quick: str) -> dict[str, Outcome]:
    """How every dialogue went."""
    placed = [
        dialogue.model_copy(update={"workflow": quick if waits(dialogue) else "shop"})
        for dialogue in DIALOGUES
    ]
    # Those that wait begin first, so that the others are played meanwhile.
    placed.sort(key=waits, reverse=True)
    played = play_all(customer.http, placed, parallel=PARALLEL)
    return {outcome.dialogue.id: outcome for outcome in played}


@pytest.mark.parametrize("dialogue", [dialogue.id for dialogue in DIALOGUES])
def test_dialogue(outcomes: dict[str, Outcome], dialogue: str) -> None:
    outcome = outcomes[dialogue]
    assert outcome.passed, "\n".join(as_lines(outcome))


def test_there_are_sixty_in_both_languages_with_repairs() -> None:
    chinese = [dialogue for dialogue in DIALOGUES if dialogue.id.endswith("_zh")]
    assert len(DIALOGUES) >= 60
    assert 20 <= len(chinese) <= len(DIALOGUES) - 20
    assert len(list(filter(waits, DIALOGUES))) >= 4
