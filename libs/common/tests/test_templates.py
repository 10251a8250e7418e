from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from signalbox.common.templates import Limits, TemplateError, Templates, language_chain, localized

VALUES = {
    "slots": {
        "order": "1042",
        "count": 3,
        "items": [{"n": "pen", "c": 250}, {"n": "ink", "c": 1999}],
        "none": None,
    },
    "result": {"ok": True, "total": 123456, "at": "2025-03-01T22:30:00Z", "tags": ["b", "a", "b"]},
    "context": {"language": "en"},
}


@pytest.fixture
def templates():
    return Templates()


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no placeholder { here", "no placeholder { here"),
        ("Order {{ slots.order }} has {{ slots.count }} items.", "Order 1042 has 3 items."),
        (
            "{% for i in slots.items %}{{ loop.index }}. {{ i.n }}{% if not loop.last %}, {% endif %}{% endfor %}",
            "1. pen, 2. ink",
        ),
        ("{% if result.ok and slots.count > 2 %}yes{% else %}no{% endif %}", "yes"),
        ("{{ slots.none }}|{{ result.ok }}|{{ slots.items[0] }}", '|true|{"n": "pen", "c": 250}'),
        ("{{ slots.missing | default('nothing') }}", "nothing"),
        ("{{ slots.missing.deeper | default('nothing') }}", "nothing"),
        ("{{ 'yes' if slots.missing is defined else 'no' }}", "no"),
        ("{{ 'shown' if slots.count > 5 }}", ""),
        ("{{ slots.items | map(attribute='n') | join(' & ') }}", "pen & ink"),
        ("{{ slots.items | selectattr('c', 'gt', 1000) | map(attribute='n') | first }}", "ink"),
        ("{{ slots.items | sum(attribute='c') }}", "2249"),
        ("{{ result.tags | unique | sort | join }}", "ab"),
        ("{{ slots.items | length }}{{ 'abc' | upper }}{{ 'X' | lower }}", "2ABCx"),
        (
            "{{ result.total | money }} {{ result.total | money('CNY') }} {{ 500 | money('JPY') }}",
            "$1,234.56 ¥1,234.56 ¥500",
        ),
        ("{{ -5 | money('CHF') }}", "-0.05 CHF"),
        ("{{ result.at | date('%-d %B %Y, %H:%M') }}", "1 March 2025, 22:30"),
        ("{{ result.at | date('%Y年%-m月%-d日', 'Asia/Shanghai') }}", "2025年3月2日"),
        ("{{ 0 | date('%A %j %% %p') }}", "Thursday 001 % AM"),
        ("{{ result.tags | tojson }}", '["b", "a", "b"]'),
        ("{{ 'a b/ü' | urlencode }}", "a%20b/%C3%BC"),
        ("{{ 'one two three' | truncate(9) }}", "one..."),
        ("{{ slots.order ~ '-' ~ slots.count }}", "1042-3"),
        (
            "{{ slots.order.startswith('10') }} {{ 'a,b'.split(',') | last }} {{ slots.get('x', 'y') }}",
            "true b y",
        ),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        (
            "{% set total = slots.count * 2 + 1 %}{{ total }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 2.5 | round }}",
            "7 3 3.5 3",
        ),
        ("{{ 'x' | replace('x', 'yz') }}{{ slots.order[1:3] }}{{ 'a' in result.tags }}", "yz04true"),
        ("{% for n in range(3) %}{{ n }}{% endfor %}{# comment #}{% raw %}{{ }}{% endraw %}", "012{{ }}"),
        ("{{ slots.items }}", '[{"n": "pen", "c": 250}, {"n": "ink", "c": 1999}]'),
    ],
)
def test_text(templates, template, text):
    assert templates.render_text(template, VALUES) == text


def test_data_comes_before_methods(templates):
    assert templates.evaluate("slots.items | length", VALUES) == 2
    assert templates.evaluate("slots.items() | length", VALUES) == 4


def test_values_are_not_templates(templates):
    assert templates.render_text("{{ a }}", {"a": "{{ b }}{% raw %}"}) == "{{ b }}{% raw %}"


def test_dates_and_decimals(templates):
    values = {"d": date(2025, 1, 2), "t": datetime(2025, 1, 2, 3, tzinfo=UTC), "m": Decimal("12.50")}
    assert (
        templates.render_text("{{ d }} {{ t }} {{ m }}", values)
        == "2025-01-02 2025-01-02T03:00:00+00:00 12.50"
    )
    assert templates.render_text("{{ d | date('%d.%m.%y') }}", values) == "02.01.25"


def test_a_whole_placeholder_keeps_its_type(templates):
    rendered = templates.render_value(
        {"n": "{{ slots.count }}", "list": ["{{ slots.items }}", " {{ slots.count }}"], "ok": "{{ result.ok }}", "x": 5,
         "none": "{{ slots.none }}", "text": "{{ slots.count }}!", "{{ key }}": None},
        VALUES,
    )  # fmt: skip
    assert rendered == {
        "n": 3, "list": [VALUES["slots"]["items"], " 3"], "ok": True, "x": 5, "none": None, "text": "3!",
        "{{ key }}": None,
    }  # fmt: skip
    assert templates.render_value("{{ range(3) }}", {}) == [0, 1, 2]
    assert templates.render_value("{{ slots.items | map(attribute='c') }}", VALUES) == [250, 1999]


def test_expressions(templates):
    assert templates.evaluate("result.ok and slots.count == 3", VALUES) is True
    assert templates.evaluate("slots.order", VALUES) == "1042"
    assert templates.evaluate("slots.missing is defined", VALUES) is False
    assert templates.evaluate("result", VALUES) == VALUES["result"]
    with pytest.raises(TemplateError, match="`gone` has no value here"):
        templates.evaluate("result.gone", VALUES)
    with pytest.raises(TemplateError, match="after the expression"):
        templates.evaluate("1 2", VALUES)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ slots.nope }}", "`nope` has no value here; give it one, or write `| default(...)`"),
        ("{{ nope }}", "`nope` is not defined here"),
        ("{{ slots.items[7] }}", "`7` has no value here"),
        ("{{ slots.nope + 1 }}", "`nope` has no value here"),
        ("{% for x in nope %}{% endfor %}", "`nope` is not defined here"),
        ("{{ slots.order + 1 }}", "texts are joined with `~`"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'x' | date }}", "takes a date"),
        ("{{ 'x' | money }}", "amount in cents"),
        ("{{ 0 | date('%Q') }}", "does not know %Q"),
        ("{{ result.at | date('%Y', 'Mars/Base') }}", "time zone"),
        ("{{ 'a' | replace('', 'b') }}", "text to look for"),
        ("line one\n{{ broken", "line 2"),
        ("{% if %}", "line 1"),
        ("{{ 'a' | nofilter }}", "there is no filter `nofilter`"),
        ("{{ 1 is prime }}", "there is no test `prime`"),
    ],
)
def test_errors_name_the_template_and_say_what_to_do(templates, template, said):
    with pytest.raises(TemplateError) as caught:
        templates.render_text(template, VALUES, name="flows/return/ok")
    assert caught.value.detail.startswith("Template `flows/return/ok`: ")
    assert said in caught.value.reason
    assert caught.value.code == "template_error"


def test_an_error_without_a_name_shows_the_beginning(templates):
    with pytest.raises(TemplateError, match=r"^Template `\{\{ x \}\} a+\.\.\.`: "):
        templates.render_text("{{ x }} " + "a" * 200, {})


def test_templates_are_compiled_once(templates, monkeypatch):
    templates.render_text("{{ slots.order }}", VALUES)
    monkeypatch.setattr(templates, "_compile", None)
    assert templates.render_text("{{ slots.order }}", VALUES) == "1042"


def test_references(templates):
    source = "{{ slots.a }}{% set b = vars['c'].d %}{{ b.x }}"
    source += "{% for i in slots.items %}{{ i.n }}{{ loop.index }}{% endfor %}"
    assert templates.references(source) == {("slots", "a"), ("vars", "c", "d"), ("slots", "items")}
    assert templates.references("result.a and b", expression=True) == {("result", "a"), ("b",)}


URL_VALUES = {
    "vars": {"base": "https://shop.example:8443/api"},
    "arguments": {"id": "a/b ../?x=1#é", "empty": "", "none": None, "up": "..", "n": 5, "line": "a\r\nHost: evil",
                  "host": "evil.example"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("{{ vars.base }}/orders/{{ arguments.n }}", "https://shop.example:8443/api/orders/5"),
        (
            "{{ vars.base }}/o/{{ arguments.id }}/x",
            "https://shop.example:8443/api/o/a%2Fb%20..%2F%3Fx%3D1%23%C3%A9/x",
        ),
        (
            "http://h.example/x?q={{ arguments.id }}&e={{ arguments.empty }}",
            "http://h.example/x?q=a%2Fb%20..%2F%3Fx%3D1%23%C3%A9&e=",
        ),
        (
            "http://h.example{% if arguments.n > 1 %}/big/{{ arguments.n }}{% endif %}",
            "http://h.example/big/5",
        ),
        ("http://h.example/plain", "http://h.example/plain"),
    ],
)
def test_url_placeholders_stay_in_their_place(templates, template, url):
    assert templates.render_url(template, URL_VALUES) == url


@pytest.mark.parametrize(
    "template",
    [
        "http://{{ arguments.host }}/x",
        "{{ arguments.host }}",
        "https://shop.example{{ arguments.host }}/x",
        "https://{{ vars.base ~ arguments.host }}/",
        "{% set vars = arguments %}https://{{ vars.host }}/",
        "{% if true %}https://{{ arguments.host }}/{% endif %}",
        "http://h.example/orders/{{ arguments.up }}/admin",
        "http://h.example/orders/{{ arguments.empty }}",
        "http://h.example/orders/{{ arguments.none }}",
        "http://h.example/{{ arguments.line }}",
        "http://h.example/{{ arguments.missing }}",
        "http://user:pass@h.example/",
        "ftp://h.example/",
        "/relative",
        "file:///etc/passwd",
        "http:///x",
    ],
)
def test_urls_that_a_value_could_lead_astray_are_refused(templates, template):
    with pytest.raises(TemplateError):
        templates.render_url(template, URL_VALUES)


def test_a_host_from_a_message_is_refused_before_any_value_is_known(templates):
    templates.check_url("{{ vars.base }}/x/{{ arguments.id }}")
    for bad in ("http://{{ arguments.host }}/", "{{ arguments.url }}", "/x", "http://x{{ arguments.id }}/"):
        with pytest.raises(TemplateError):
            templates.check_url(bad)


def test_localized_falls_back_visibly():
    text = {"en": "Hello", "zh": ["你好", "您好"]}
    assert localized(text, "en-GB", "en", "t1") == ("Hello", "en")
    assert localized(text, "zh-Hant-HK", "en", "t1")[1] == "zh"
    assert localized(text, "fr", "en", "t1") == ("Hello", "en")
    assert localized(text, "fr", "de", "t1") == ("Hello", "en")
    assert localized({"zh-Hans": "你好", "en": "Hi"}, "zh-Hant", "en", "t") == ("你好", "zh-Hans")
    assert localized({"ZH-hant": "您", "zh": "你"}, "zh-Hant", "en", "t") == ("您", "ZH-hant")
    assert localized("Hi", "zh", "en", "t") == ("Hi", "en")
    assert localized({"en": "", "zh": "你好"}, "en", "en", "t") == ("你好", "zh")
    assert localized({}, "en", "en", "t") == ("", "en")
    assert language_chain("zh-Hant-HK") == ["zh-hant-hk", "zh-hant", "zh"]


def test_variations_follow_the_seed(templates):
    text = ["one", "two", "three"]
    chosen = [templates.localized(text, "en", "en", f"turn-{n}")[0] for n in range(60)]
    assert chosen == [templates.localized(text, "en", "en", f"turn-{n}")[0] for n in range(60)]
    assert set(chosen) == set(text)


def test_limits_can_be_set():
    small = Templates(Limits(output_chars=10))
    assert small.render_text("{{ a }}", {"a": "x" * 10}) == "x" * 10
    with pytest.raises(TemplateError, match="longer than 10"):
        small.render_text("{{ a }}", {"a": "x" * 11})


@pytest.mark.parametrize(
    "expression",
    [
        "[1] | map(attribute='x') | list",
        "slots.items | map(attribute='nothing')",
        "{'a': [slots.items | map(attribute='nothing') | first]}",
        "[slots.nothing]",
    ],
)
def test_what_is_not_there_is_no_value_however_deep_it_is(expression):
    templates = Templates()
    for run in (
        lambda: templates.evaluate(expression, VALUES),
        lambda: templates.render_value("{{ " + expression + " }}", VALUES),
    ):
        with pytest.raises(TemplateError, match="has no value here"):
            run()
    defined = "slots.items | map(attribute='nothing') | select('defined')"
    assert templates.evaluate(defined, VALUES) == []
    assert templates.evaluate("slots.items | map(attribute='nothing', default=0)", VALUES) == [0, 0]
