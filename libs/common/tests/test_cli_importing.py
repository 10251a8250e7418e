"""``signalbox import``: exit status, output and report."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from signalbox.common.cli.commands import build_cli
from signalbox.common.documents import parse
from signalbox.common.errors import Conflict, NotFound
from signalbox.common.importing import NotImportable

WHOLE = {
    "basic_settings": {"name": "bot", "language": "en"},
    "flows": [{"id": "f", "trigger_patterns": ["go"], "steps": [{"type": "reply", "text": "Gone."}]}],
}


def run(tmp_path: Path, document: object, *arguments: str) -> Result:
    source = tmp_path / "earlier.json"
    source.write_text(json.dumps(document))
    return CliRunner().invoke(build_cli(), ["import", str(source), *arguments])


def test_what_is_carried_over_whole_goes_to_standard_output_with_status_0(tmp_path: Path) -> None:
    done = run(tmp_path, WHOLE)
    assert done.exit_code == 0
    assert parse(done.stdout)["flows"][0]["id"] == "f"
    assert "Everything was carried over." in done.stderr


def test_status_3_and_a_report_say_that_something_is_left(tmp_path: Path) -> None:
    output, report = tmp_path / "ours.json", tmp_path / "report.json"
    done = run(tmp_path, {**WHOLE, "mood": "sunny"}, "-o", str(output), "--report", str(report))
    assert done.exit_code == 3
    assert json.loads(output.read_text())["name"] == "bot"
    (note,) = json.loads(report.read_text())
    assert (note["kind"], note["pointer"]) == ("lost", "/mood")
    assert "Not carried over (1):" in done.stderr


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    output = tmp_path / "ours.yaml"
    output.write_text("mine")
    assert isinstance(run(tmp_path, WHOLE, "-o", str(output)).exception, Conflict)
    assert output.read_text() == "mine"
    assert run(tmp_path, WHOLE, "-o", str(output), "--force").exit_code == 0
    assert parse(output.read_bytes())["name"] == "bot"


@pytest.mark.parametrize(("arguments", "error"), [(["{}"], NotImportable), ([None], NotFound)])
def test_nothing_is_written_of_nothing(tmp_path: Path, arguments: list[str], error: type[Exception]) -> None:
    source = tmp_path / "it.json"
    if arguments[0] is not None:
        source.write_text(arguments[0])
    output = tmp_path / "ours.yaml"
    done = CliRunner().invoke(build_cli(), ["import", str(source), "-o", str(output)])
    assert isinstance(done.exception, error)
    assert not output.exists()
