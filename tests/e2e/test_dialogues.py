"""The example's own dialogues, as they stand in its directory."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import SHOP_WORKFLOW

from signalbox.common.documents import parse

DIALOGUES: list[dict[str, Any]] = parse(SHOP_WORKFLOW.with_name("dialogues.yaml").read_bytes())["dialogues"]


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=[dialogue["id"] for dialogue in DIALOGUES])
def test_dialogue(customer: PublicApi, dialogue: dict[str, Any]) -> None:
    session = new_session(dialogue["id"])
    for turn in dialogue["turns"]:
        reply = customer.query(turn["user"], session)
        assert reply["decision"].get("intent") == turn.get("intent"), turn["user"]
        assert reply["status"] == turn.get("status", "success"), reply["message"]
        for text in turn["reply_contains"]:
            assert text in reply["message"], turn["user"]
        assert reply["language"] == dialogue["language"]
