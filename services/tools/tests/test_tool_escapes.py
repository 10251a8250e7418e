"""Templates of a tool that try to get out of the sandbox, and values that try to become templates: nothing is sent."""

from typing import Any

import orjson
import pytest

from signalbox.common.http_calls import CallFailed, HttpCall
from signalbox.common.validation import validate
from signalbox.contracts.context import CallContext
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.registry import Registry

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ vars['__cl' ~ 'ass__'].mro() }}",
    "{{ arguments | attr('__class__') }}",
    "{{ arguments.__class__.__init__.__globals__ }}",
    "{{ context['__dict__'] }}",
    "{{ self._TemplateReference__context }}",
    "{{ __builtins__ }}",
    "{{ range.__init__.__globals__ }}",
    "{{ cycler('a').__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ namespace(a=1) }}",
    "{{ '{0.__class__}'.format(vars) }}",
    "{{ '%s' | format(vars) }}",
    "{{ [1] | map('attr', '__class__') | list }}",
    "{{ arguments.update({'a': 1}) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends 'x' %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for x in range(1000000000) %}x{% endfor %}",
    "{{ 9 ** 9 ** 9 }}",
]
PLACES = ["path", "query", "headers", "body", "context"]


def tool(place: str, template: str) -> dict[str, Any]:
    request: dict[str, Any] = {"method": "POST", "url": "https://api.example/x"}
    made: dict[str, Any] = {"id": "t", "parameters": {"type": "object"}, "request": request}
    if place == "path":
        request["url"] = f"https://api.example/{template}"
    elif place == "context":
        made["context"] = {"customer": template}
    else:
        request[place] = {"x": template} if place != "body" else {"a": [{"b": template}]}
    return made


def registry(place: str, template: str) -> Registry:
    config = {"workflow_id": "shop", "name": "Shop", "variables": {"v": 1}, "tools": [tool(place, template)]}
    return Registry(WorkflowConfig.model_validate(config), {}, {})


def rendered(made: Registry, **arguments: Any) -> Any:
    """What would be sent, as far as it is rendered before a socket is thought of."""
    compiled = made.get("t")
    context = CallContext(
        tenant="acme", subject="key:1", workflow_id="shop", config_hash="a" * 64, session_id="s",
        turn_id="turn_1", now_ms=0,
    )  # fmt: skip
    values = made.values(compiled, arguments, context)
    if isinstance(compiled.source, str):
        raise CallFailed("refused", compiled.source)
    assert isinstance(compiled.source, HttpCall)
    return compiled.source.render(values)


def test_there_are_twenty_escapes_and_each_is_another() -> None:
    assert len(set(ESCAPES)) == len(ESCAPES) >= 20


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("template", ESCAPES)
def test_it_is_refused_wherever_it_stands(place: str, template: str) -> None:
    with pytest.raises(CallFailed) as caught:
        rendered(registry(place, template))
    assert caught.value.error.code in {"refused", "invalid_arguments"}
    assert "root:" not in caught.value.error.detail


@pytest.mark.parametrize("place", PLACES)
def test_a_document_with_it_is_refused_before_it_is_published(place: str) -> None:
    template = "{{ ''.__class__.__mro__ }}"
    document = {"workflow_id": "shop", "name": "Shop", "tools": [tool(place, template)]}
    report = validate(document)
    assert any(error.pointer.startswith("/tools/0/") for error in report.errors), report.errors


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_value_is_data_and_no_template(escape: str) -> None:
    request = rendered(registry("body", "{{ arguments.text }}"), text=escape)
    assert orjson.loads(request.body) == {"a": [{"b": escape}]}
