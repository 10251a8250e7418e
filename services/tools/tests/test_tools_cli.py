"""``signalbox tools call`` on a workflow file, as far as nothing is sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from signalbox.tools.calling import BadArgument, BadWorkflowFile, NoSuchTool
from signalbox.tools.cli import NotConfirmed, app

WORKFLOW = """
workflow_id: shop
name: Shop
variables: {base: "https://shop.example"}
tools:
  - id: get_order
    parameters:
      type: object
      properties: {order: {type: integer}, note: {type: string}}
      required: [order]
      additionalProperties: false
    context: {customer: "{{ context.user_id }}"}
    request:
      url: "{{ vars.base }}/{{ context.language }}/orders/{{ arguments.order }}"
      query: {note: "{{ arguments.note | default(none) }}", customer: "{{ arguments.customer }}"}
    auth: {type: bearer, token: "secret:shop"}
  - id: inside
    request: {url: "http://169.254.169.254/"}
  - id: pay
    effect: write
    request: {method: POST, url: "{{ vars.base }}/pay"}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNALBOX_VARIABLES", '{"base": "https://other.example"}')
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)

    def call(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, ["tools", "call", *arguments], input=typed)

    return call


def test_a_dry_run_shows_the_request_and_leaves_nothing_behind(run: Any, tmp_path: Path) -> None:
    shown = run("get_order", "order=7", "note=42", "--user", "u1", "--language", "de", "--dry-run")
    assert shown.exit_code == 0, shown.output
    request = json.loads(shown.stdout)
    # What the tool wants as text stays text: 42 is a note, not a number.
    assert request["url"] == "https://other.example/de/orders/7?note=42&customer=u1"
    assert request["headers"]["Authorization"] == "Bearer ***"
    assert [path.name for path in tmp_path.iterdir()] == ["workflow.yaml"]


def test_a_failure_is_told_and_the_exit_status_says_so(run: Any) -> None:
    for arguments, said in (
        (["get_order", "order=seven"], "invalid_arguments: "),
        (["get_order", "order=7"], "refused: Secret 'shop'"),
        (["inside"], "refused: The address 169.254.169.254 is link-local"),
    ):
        failed = run(*arguments)
        assert (failed.exit_code, failed.stdout) == (1, "")
        assert said in failed.stderr


def test_a_write_asks_first(run: Any) -> None:
    refused = run("pay", typed="n\n")
    assert isinstance(refused.exception, NotConfirmed)
    assert run("pay", "--dry-run").exit_code == 0


def test_what_is_wrong_is_said_in_words(run: Any, tmp_path: Path) -> None:
    missing = run("nothing")
    assert isinstance(missing.exception, NoSuchTool)
    assert "its tools: get_order, inside, pay" in str(missing.exception)
    assert isinstance(run("get_order", "7").exception, BadArgument)
    (tmp_path / "workflow.yaml").write_text(WORKFLOW + "greetings: hello\n")
    broken = run("pay").exception
    assert isinstance(broken, BadWorkflowFile)
    assert [error.pointer for error in broken.errors] == ["/greetings"]
