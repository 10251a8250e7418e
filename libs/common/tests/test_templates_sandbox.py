"""Attempts to get out of the sandbox, or to make it work or write without end."""

import time

import pytest

from signalbox.common.templates import TemplateError, Templates


class Service:
    """An object that should never have been given to a template."""

    secret = "planted"

    def method(self):
        return "planted"

    def __str__(self):
        return "planted"


VALUES = {
    "text": "abc",
    "items": [1, 2, 3],
    "mapping": {"key": "value", "__class__": "planted", "_private": "planted"},
    "service": Service(),
    "function": len,
    "module": time,
}

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ text['__cl' ~ 'ass__'].mro() }}",
    "{{ text | attr('__class__') }}",
    "{{ mapping.__class__ }}",
    "{{ mapping['_private'] }}",
    "{{ _budget }}",
    "{{ __builtins__ }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ service }}",
    "{{ service.secret }}",
    "{{ service.method() }}",
    "{{ function(text) }}",
    "{{ module.sleep(9) }}",
    "{{ range.__init__.__globals__ }}",
    "{{ range(3).__class__ }}",
    "{{ loop.__class__ }}",
    "{% for x in items %}{{ loop._iterable }}{% endfor %}",
    "{% for x in items %}{{ loop.cycle('a') }}{% endfor %}",
    "{{ cycler('a').__init__.__globals__ }}",
    "{{ joiner.__init__ }}",
    "{{ namespace(a=1) }}",
    "{{ lipsum() }}",
    "{{ dict(a=1) }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ '%s' | format(text) }}",
    "{{ '{0.__class__}'.format(text) }}",
    "{{ '{0.__class__}'.format_map(mapping) }}",
    "{{ items | map('attr', '__class__') | list }}",
    "{{ items | map(attribute='__class__') | list | tojson }}",
    "{{ items | map('(literal)') | list }}",
    "{{ items | sort(attribute='__class__') }}",
    "{{ items | selectattr('__class__') | list | first.x }}",
    "{{ text | (method) upper }}",
    "{{ items.append(4) }}",
    "{{ items.pop() }}",
    "{{ mapping.update({'a': 1}) }}",
    "{{ mapping.pop('key') }}",
    "{{ mapping.clear() }}",
    "{% set mapping.key = 1 %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call text() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set x %}a{% endset %}",
    "{% with a = 1 %}{% endwith %}",
    "{% do items.append(1) %}",
    "{% for x in items recursive %}{{ loop(items) }}{% endfor %}",
    "{{ text.upper(*items) }}",
    "{{ text | upper(**mapping) }}",
    "{{ text is callable }}",
    "{{ text is sameas text }}",
    "{{ text.encode() }}",
    "{{ text.join(items) }}",
    "{{ text.translate(mapping) }}",
    "{{ range }}",
    "{{ {}.get.__self__ }}",
    "{% debug %}",
    "{% autoescape true %}{% endautoescape %}",
]

BOMBS = [
    "{{ 'a' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ range(1000000000) | list }}",
    "{{ 'x'.center(1000000000) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ text | center(1000000000) }}",
    "{{ text | indent(1000000000) }}",
    "{{ items | batch(1000000000, 'x') | list }}",
    "{{ items | tojson(indent=1000000000) }}",
    "{{ 1.5 | round(1000000000, 'ceil') ~ ('a' * 1000000000) }}",
    "{% set a = 'x' * 10 %}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a ~ a ~ a ~ a ~ a ~ a ~ a %}" * 40 + "{{ a }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a + a %}" * 60 + "{{ a | length }}",
    "{% set a = [1] %}" + "{% set a = [a, a, a, a, a, a, a, a] %}" * 40 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = a + a %}" * 60 + "{{ a | length }}",
    "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{{ {a: 1} }}",
    "{% set a = {'k': 1} %}" + "{% set a = {'k': a, 'l': a} %}" * 60 + "{{ a == a }}",
    "{% set a = 9999999 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "{% for a in range(9999) %}" * 3 + "{% endfor %}" * 3,
    "{% for a in range(9999) %}" + "{{ text }}" * 100 + "{% endfor %}",
    "{% for a in range(9999) %}{% if " + " and ".join(["text == text"] * 1000) + " %}{% endif %}{% endfor %}",
    "{{ text | replace('', 'x') }}",
    "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a | replace('a', 'aaaaaaaaaa') %}" * 20 + "{{ a }}",
    "{{ '" + "x" * 200_000 + "' }}",
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "{{ " + "-" * 5000 + "1 }}",
    "{{ text" + ".a" * 5000 + " }}",
    "{{ " + "1 + " * 5000 + "1 }}",
    "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "{% for a in items %}" * 30 + "{% endfor %}" * 30,
    "{{ items | map('map', 'map', 'map') | list }}",
    "{{ items | map('(iterate)', -1000000000) | list }}",
]


@pytest.fixture(scope="module")
def templates():
    return Templates()


@pytest.mark.parametrize("template", ESCAPES)
def test_escapes_are_refused(templates, template):
    before = {key: repr(value) for key, value in VALUES.items()}
    with pytest.raises(TemplateError) as caught:
        templates.render_text(template, VALUES)
    assert "planted" not in caught.value.detail
    assert {key: repr(value) for key, value in VALUES.items()} == before


@pytest.mark.parametrize("template", BOMBS, ids=range(len(BOMBS)))
def test_bombs_are_refused_quickly(templates, template):
    started = time.perf_counter()
    with pytest.raises(TemplateError):
        templates.render_text(template, VALUES)
    assert time.perf_counter() - started < 5


def test_expressions_are_in_the_same_sandbox(templates):
    for expression in (
        "''.__class__",
        "service.method()",
        "9 ** 9",
        "'a' * 99999999",
        "self",
        "text.__len__()",
    ):
        with pytest.raises(TemplateError):
            templates.evaluate(expression, VALUES)


def test_a_shared_value_does_not_grow_on_the_way_out(templates):
    doubling = "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40
    with pytest.raises(TemplateError):
        templates.render_value([doubling + "{{ a }}"] * 2, {})


def test_a_large_answer_can_still_be_used(templates):
    values = {"result": [{"name": f"n{n}", "price": n} for n in range(2_000)]}
    text = templates.render_text(
        "{% for r in result %}{{ r.name }}={{ r.price | money }};{% endfor %}", values
    )
    assert text.endswith("n1999=$19.99;")
    assert templates.render_value("{{ result }}", values) == values["result"]
