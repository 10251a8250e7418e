"""Scenario 25: templates in the words of users, in what tools answer, and in what a publisher writes.

Words and answers are values: wherever they come out, they come out as they went in. A publisher's template is a program
in a sandbox: whatever it tries, it reaches nothing but its values, and ends. (`libs/common/tests/test_templates.py`
holds the sandbox itself; here it is the running system.)
"""

import json
import threading
import time
from typing import Any

import pytest
from support.public_api import Problem, PublicApi, new_session
from support.systems import RunningSystem, publish

WORDS = [
    "{{ 7*191 }}",
    "{{7*191}}",
    "{% if true %}1337{% endif %}",
    "{# hidden #}",
    "${7*191}",
    "#{7*191}",
    "<%= 7*191 %>",
    "{{ ''.__class__.__mro__ }}",
    "{{ vars.backend }}",
    "{{ context }}",
    "{{ parameters }}",
    "{{ self }} {{ config }} {{ request }}",
    "{% raw %}{{ 7*191 }}{% endraw %}",
    "{{ '{{' }} 7*191 }}",
    "secret:shop-token",
    "{{ secret('shop-token') }}",
    "%s %(x)s {0.__class__}",
    "{{ x }",
    "}} {{ 7*191",
]

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].environ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ '%c'|format(65) }}{{ '{0.__class__}'.format('') }}",
    "{{ ('{0.__class__.__init__.__globals__}'|string).format_map({'0': ''}) }}",
    "{{ [].append.__self__ }}",
    "{{ (1).__class__ }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% import 'os' as os %}{{ os }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{{ vars.__class__ }}{{ vars['__class__'] }}",
    "{{ parameters.keys.__globals__ }}",
    "{% set x = ''.__class__ %}{{ x }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{{ m() }}",
    "{{ 'secret:shop-token' }}",
]
"""What a publisher may try; none may give anything but an empty text or the text that it quotes."""

LOOT = ("<class", "<module", "root:", "uid=", "os.environ", "PATH=", "built-in", "0x7f", "SIGNALBOX_")

GREEDY = [
    "{{ 'x' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d'|format(1) }}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% for i in range(9999) %}" * 3 + "x" + "{% endfor %}" * 3,
    "{{ range(100000000)|list|length }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ ('x' * 100000)|replace('x', 'x' * 100000) }}",
    "{% set x = 'xxxxxxxxxx' %}" + "{% set x = x ~ x ~ x ~ x ~ x ~ x ~ x ~ x %}" * 12 + "{{ x }}",
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
]
"""Templates that would take for ever, or all memory."""

SERVED_S = 2.0
"""How long a plain question may wait while a greedy template is answered."""


@pytest.mark.usefixtures("probe")
def test_words_of_a_user_come_out_as_they_went_in(system: RunningSystem, client: PublicApi) -> None:
    tried = 0
    for words in WORDS:
        session = new_session()
        more: dict[str, Any] = {"workflow_id": "probe", "metadata": {"note": words, words[:60]: words}}
        reply = client.query(f"say {words}", session, **more)
        assert reply["message"] == f"Welcome.\n\nYou said {words}.", words
        assert (f"say {words}") in dict(client.history(session)).get("user", ""), words
        client.query("pick a colour", session, workflow_id="probe")
        asked = client.query(words, session, workflow_id="probe")
        assert "1337" not in asked["message"].replace(words, ""), asked
        tried += 3
    print(f"25 {system.shape}: {tried} messages with templates, none evaluated")


def test_words_reach_a_tool_and_come_back_as_they_are(system: RunningSystem, admin_client: PublicApi) -> None:
    text = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    sent = {"url": f"{system.backend.url}/echo", "method": "POST", "body": {"what": "{{ arguments.what }}"}}
    tool = {"id": "echo", "description": "Echoes.", "parameters": text, "request": sent}
    intent = {
        "id": "echo",
        "when": {"patterns": ["^echo (?P<what>.+)$"]},
        "parameters": {"what": {"type": "text"}},
        "then": {
            "tool": "echo",
            "arguments": {"what": "{{ parameters.what }}"},
            "reply": "Back: {{ result.body }}",
        },
    }
    workflow = new_session("wf")
    publish(admin_client, {"workflow_id": workflow, "name": "Echo", "tools": [tool], "intents": [intent]})
    for words in WORDS:
        reply = admin_client.query(f"echo {words}", workflow_id=workflow)
        received = system.backend.received("/echo")[-1].body
        assert reply["message"] == f"Back: {received}", words
        assert json.loads(received) == {"what": words}
    print(f"25 {system.shape}: {len(WORDS)} answers of a tool with templates, none evaluated")


def publishing(operator: PublicApi, template: str) -> str | None:
    """What a workflow that replies with a template says; None where it cannot be published."""
    workflow = new_session("wf")
    intent = {"id": "go", "when": {"patterns": ["^go (?P<x>.+)$"]}, "parameters": {"x": {"type": "text"}}}
    document = {"workflow_id": workflow, "name": "X", "intents": [{**intent, "then": {"reply": template}}]}
    try:
        publish(operator, {**document, "variables": {"v": "1"}})
    except Problem as refused:
        if refused.status != 422:
            raise
        return None
    answer = operator.http.post(
        "/api/v1/query", json={"message": "go 1", "session_id": new_session(), "workflow_id": workflow}
    )
    assert answer.status_code == 200, f"{template}: {answer.text}"
    said: str = answer.json()["message"]
    return said


def test_a_publishers_template_reaches_nothing(system: RunningSystem, admin_client: PublicApi) -> None:
    refused = 0
    for template in ESCAPES:
        said = publishing(admin_client, template)
        refused += said is None
        assert not [loot for loot in LOOT if said and loot in said], f"{template}: {said}"
        assert said is None or system.secret_values["shop token"] not in said
    print(
        f"25 {system.shape}: {len(ESCAPES)} escapes, {refused} refused when published, the others came to nothing"
    )


def test_a_greedy_template_ends_and_others_are_served_meanwhile(
    system: RunningSystem, admin_client: PublicApi, client: PublicApi
) -> None:
    waited: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            started = time.perf_counter()
            client.query("hello")
            waited.append(time.perf_counter() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        longest, refused = 0.0, 0
        for template in GREEDY:
            started = time.perf_counter()
            said = publishing(admin_client, template)
            longest = max(longest, time.perf_counter() - started)
            refused += said is None
            assert said is None or len(said) < 200_000, template
    finally:
        over.set()
        asking.join(60)
    print(
        f"25 {system.shape}: {len(GREEDY)} greedy templates, {refused} refused, longest {longest:.1f} s; "
        f"{len(waited)} questions meanwhile, longest {max(waited):.2f} s"
    )
    assert longest < 20
    assert max(waited) < SERVED_S
