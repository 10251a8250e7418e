"""What ``signalbox init`` writes."""

import orjson
import pytest
import yaml

from signalbox.common.cli.template import write_project
from signalbox.common.documents import parse
from signalbox.common.errors import Conflict
from signalbox.common.validation import validate


@pytest.mark.parametrize(
    ("directory", "workflow_id"),
    [
        ("my-shop", "my_shop"),
        ("shop", "shop"),
        ("2nd", "assistant"),
        ("我的商店", "assistant"),
        ("_", "assistant"),
    ],
)
def test_the_workflow_is_valid_whatever_its_directory_is_called(tmp_path, directory, workflow_id):
    write_project(tmp_path / directory)
    document = parse((tmp_path / directory / "workflow.yaml").read_bytes())
    result = validate(document)
    assert (result.errors, document["workflow_id"]) == ([], workflow_id)


def test_the_files_belong_together(tmp_path):
    written = write_project(tmp_path)
    assert {path.name for path in written} == {
        "workflow.yaml",
        "dialogues.yaml",
        "README.md",
        "workflow.schema.json",
    }
    assert all(path.is_file() for path in written)
    first_line = (tmp_path / "workflow.yaml").read_text().splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=./workflow.schema.json"
    schema = orjson.loads((tmp_path / "workflow.schema.json").read_bytes())
    assert schema["additionalProperties"] is False
    intents = {intent["id"] for intent in parse((tmp_path / "workflow.yaml").read_bytes())["intents"]}
    dialogues = yaml.safe_load((tmp_path / "dialogues.yaml").read_text())["dialogues"]
    expected = {turn["intent"] for dialogue in dialogues for turn in dialogue["turns"] if "intent" in turn}
    assert expected <= intents


def test_a_directory_with_files_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Conflict):
        write_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
