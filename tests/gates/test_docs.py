"""What the documentation says can be checked: links lead somewhere, paths exist, snippets are valid."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from gates.markdown import ROOT, anchors, blocks, code_spans, links, pages, prose, repository_files
from pydantic import BaseModel, TypeAdapter

from signalbox.common.dialogues import DialogueFile
from signalbox.common.importing import import_workflow
from signalbox.common.validation import validate
from signalbox.contracts import background, events, problem, query
from signalbox.llm_gateway.gateway_file import GatewayFile
from signalbox.llm_gateway.routing import wrong_routes

_PATH = re.compile(r"^(?:libs|services|tests|deploy|docs|bench|examples|packages)/[\w./-]+$")
_FORBIDDEN = {
    "absolute paths of a machine": re.compile(r"(?<![\w.:/])/(?:work|tmp|home|root|Users)/\w"),
    "unfinished business": re.compile(r"\b(?:TODO|FIXME|lorem ipsum|coming soon)\b"),
}
_MODELS: dict[str, Any] = {
    "QueryRequest": query.QueryRequest,
    "QueryReply": query.QueryReply,
    "Problem": problem.Problem,
    "AsyncQueryRequest": background.AsyncQueryRequest,
    "TaskView": background.TaskView,
    "BatchView": background.BatchView,
    "ScheduleRequest": background.ScheduleRequest,
    "TurnEvent": events.TurnEvent,
}
_PAGES = pages()
_HOW_TOS = [page for page in _PAGES if page.parent == ROOT / "docs" / "how-to"]


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _snippets(language: str, argument: str) -> list[Any]:
    return [
        pytest.param(block.body, id=f"{_id(page)}:{block.line}")
        for page in _PAGES
        for block in blocks(page)
        if (block.language, block.argument) == (language, argument)
    ]


@pytest.mark.parametrize("page", _PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", _PAGES, ids=_id)
def test_paths_that_are_named_exist(page: Path) -> None:
    named = [span for span in code_spans(page) if _PATH.match(span)]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", _PAGES, ids=_id)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    text = prose(page) + "".join(block.body for block in blocks(page) if block.language in {"sh", "console"})
    named = set(re.findall(r"(?:^|`|\$ )(?:\w+=\S+ )*make ([a-z][a-z-]*)", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)} == set()


@pytest.mark.parametrize("page", _HOW_TOS, ids=_id)
def test_the_yaml_of_a_page_is_one_valid_workflow(page: Path) -> None:
    document: dict[str, Any] = {"workflow_id": "docs", "name": "Docs"}
    for block in blocks(page):
        if block.language == "yaml" and not block.argument:
            for name, value in yaml.safe_load(block.body).items():
                kept = document.get(name)
                document[name] = [*kept, *value] if isinstance(kept, list) else value
    assert len(document) > 2
    result = validate(document)
    assert [f"{item.pointer}: {item.detail}" for item in (*result.errors, *result.warnings)] == []


@pytest.mark.parametrize("text", _snippets("yaml", "deployments"))
def test_deployments_are_valid(text: str) -> None:
    file = GatewayFile.model_validate(yaml.safe_load(text))
    assert file.deployments
    assert wrong_routes(file.models, {deployment.model for deployment in file.deployments}) == []


@pytest.mark.parametrize("text", _snippets("yaml", "gateway"))
def test_sections_of_the_gateways_file_are_valid(text: str) -> None:
    assert GatewayFile.model_validate(yaml.safe_load(text)).model_fields_set


@pytest.mark.parametrize("text", _snippets("yaml", "dialogues"))
def test_dialogues_are_valid(text: str) -> None:
    assert DialogueFile.model_validate(yaml.safe_load(text)).dialogues


def test_an_earlier_configuration_becomes_what_the_page_shows() -> None:
    page = ROOT / "docs" / "how-to" / "import-a-workflow.md"
    (earlier,) = [
        block.body for block in blocks(page) if (block.language, block.argument) == ("json", "earlier")
    ]
    (ours,) = [block.body for block in blocks(page) if block.language == "yaml"]
    assert import_workflow(json.loads(earlier)).document == yaml.safe_load(ours)


@pytest.mark.parametrize("name", _MODELS)
def test_json_examples_have_every_field_and_no_other(name: str) -> None:
    texts = [param.values[0] for param in _snippets("json", name)]
    assert texts
    for text in texts:
        given = json.loads(text)
        parsed = TypeAdapter(_MODELS[name]).validate_python(given)
        _assert_known(parsed, given)
        if not name.endswith("Request"):
            inner, shown = (parsed.data, given["data"]) if name == "TurnEvent" else (parsed, given)
            assert set(type(inner).model_fields) == set(shown)


def test_there_is_an_example_of_every_event() -> None:
    shown = {json.loads(param.values[0])["type"] for param in _snippets("json", "TurnEvent")}
    declared = TypeAdapter(events.TurnEvent).json_schema()["discriminator"]["mapping"]
    assert shown == set(declared)


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_committed_text_has(what: str) -> None:
    found = []
    for path in repository_files():
        if path == Path(__file__) or path.name == "uv.lock" or path.suffix in {".png", ".ico", ".woff2"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if _FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def _assert_known(model: BaseModel, given: dict[str, Any]) -> None:
    """Every field that is given is one of the model's, at every depth."""
    assert set(given) <= set(type(model).model_fields)
    for name, value in given.items():
        inner = getattr(model, name)
        if isinstance(inner, BaseModel) and isinstance(value, dict):
            _assert_known(inner, value)
