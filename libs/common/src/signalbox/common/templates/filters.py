"""The filters, tests and methods that templates may use, each spending the rendering's budget.

Jinja's own implementations are used where their cost follows from their input; those that can blow up
(``center``, ``format``, ``indent``, ``batch``, ``replace``, ``round``) are left out or written here with a limit.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2 import filters as builtin
from jinja2 import tests as builtin_tests
from jinja2.runtime import Context, LoopContext

from signalbox.common.templates import guard
from signalbox.common.templates.budget import CONTEXT_KEY, Budget
from signalbox.common.templates.formats import format_date, format_money

_MAX_RANGE = 10_000
_MAX_DEPTH = 50
_LARGEST_ROUNDED = Decimal(10) ** 15


def budget_of(context: Context) -> Budget:
    """The budget of the rendering that a context belongs to."""
    budget: Budget = context.parent[CONTEXT_KEY]
    return budget


def display(value: Any, budget: Budget) -> str:
    """How a value is shown: null as nothing, booleans and structures as JSON, everything else as its text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Undefined):
        return str(value)  # raises: the template's undefined type is strict
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    return to_json(value, budget)


def to_json(value: Any, budget: Budget) -> str:
    """Compact JSON. Raises LimitExceeded before anything too large is made, TypeError for what is not data."""
    budget.weigh(value)
    text = json.dumps(_plain(value, 0), ensure_ascii=False)
    budget.text(len(text))
    return text


def _plain(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value is nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Undefined):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be shown")


def bounded_range(*bounds: int) -> range:
    """``range`` of 10,000 numbers at most."""
    made = range(*bounds)
    if len(made) > _MAX_RANGE:
        raise ValueError(f"range() gives {_MAX_RANGE} numbers at most")
    return made


def _items(context: Context, value: Any) -> list[Any]:
    if isinstance(value, Undefined):
        return list(value)  # raises
    if not isinstance(value, str | Mapping | list | tuple | range):
        raise TypeError(f"a value of type {type(value).__name__} cannot be looped over")
    budget_of(context).weigh(value)
    return list(value)


def _text(context: Context, value: Any) -> str:
    budget = budget_of(context)
    text = display(value, budget)
    budget.text(len(text))
    return text


@pass_context
def _iterate(context: Context, value: Any, body: int) -> list[Any]:
    items = _items(context, value)
    budget_of(context).charge(len(items) * body)
    return items


@pass_context
def _operand(context: Context, value: Any) -> Any:
    if not isinstance(value, int | float | Undefined | None):
        budget_of(context).weigh(value)
    return value


@pass_context
def _literal(context: Context, value: Any) -> Any:
    budget_of(context).weigh(value)
    return value


@pass_context
def _join(context: Context, value: Any, d: str = "", attribute: str | None = None) -> str:
    items = _items(context, value)
    if attribute is not None:
        getter = builtin.make_attrgetter(context.environment, attribute)
        items = [getter(item) for item in items]
    budget = budget_of(context)
    texts = [display(item, budget) for item in items]
    budget.text(sum(map(len, texts)) + len(str(d)) * len(texts))
    return str(d).join(texts)


@pass_context
def _joined(context: Context, value: list[Any]) -> str:
    budget = budget_of(context)
    texts = [display(item, budget) for item in value]
    budget.text(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _replace(context: Context, value: Any, old: str, new: str, count: int = -1) -> str:
    text, old, new = _text(context, value), str(old), str(new)
    if not old:
        raise ValueError("replace() needs a text to look for")
    budget_of(context).text(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


@pass_context
def _split(context: Context, value: Any, separator: str | None = None, maximum: int = -1) -> list[str]:
    parts = _text(context, value).split(separator, maximum)
    budget_of(context).charge(len(parts))
    return parts


@pass_context
def _map(context: Context, value: Any, name: str | None = None, *arguments: Any, attribute: str | None = None,
         default: Any = None) -> list[Any]:  # fmt: skip
    items = _items(context, value)
    environment = context.environment
    if attribute is not None:
        getter = builtin.make_attrgetter(environment, attribute, default=default)
        return [getter(item) for item in items]
    if name is None or name not in PUBLIC_FILTERS:
        raise ValueError("map() needs attribute='...' or the name of a filter")
    return [environment.call_filter(name, item, list(arguments), context=context) for item in items]


@pass_context
def _sum(context: Context, value: Any, attribute: str | None = None, start: Any = 0) -> Any:
    items = _items(context, value)
    if attribute is not None:
        getter = builtin.make_attrgetter(context.environment, attribute)
        items = [getter(item) for item in items]
    total = start
    for item in items:
        if not isinstance(item, int | float | Decimal):
            raise TypeError("sum() adds numbers")
        total += item
    return total


@pass_context
def _round(context: Context, value: Any, precision: int = 0) -> Any:
    budget_of(context).charge(1)
    if not isinstance(value, int | float | Decimal):
        raise TypeError("round() takes a number")
    exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or abs(exact) >= _LARGEST_ROUNDED:
        return value
    digits = max(0, min(int(precision), 10))
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return int(rounded) if digits == 0 else (rounded if isinstance(value, Decimal) else float(rounded))


@pass_context
def _display(context: Context, value: Any) -> str:
    return _text(context, value)


@pass_context
def _tojson(context: Context, value: Any) -> str:
    return to_json(value, budget_of(context))


def _over_items(function: Callable[..., Any], first: str) -> Callable[..., Any]:
    """One of Jinja's filters over a list, given the ``context``, the ``environment`` or ``nothing`` first."""

    @pass_context
    def filtered(context: Context, value: Any, *arguments: Any, **keywords: Any) -> Any:
        items = _items(context, value)
        leading = {"context": (context,), "environment": (context.environment,), "nothing": ()}[first]
        result = function(*leading, items, *arguments, **keywords)
        return (
            list(result) if isinstance(result, Iterable) and not isinstance(result, str | Mapping) else result
        )

    return filtered


def _over_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter over a text; what is no text is shown as one first."""

    @pass_context
    def filtered(context: Context, value: Any, *arguments: Any, **keywords: Any) -> Any:
        return function(_text(context, value), *arguments, **keywords)

    return filtered


def _over_mapping(method: str) -> Callable[..., Any]:
    @pass_context
    def called(context: Context, value: Any, *arguments: Any) -> Any:
        if isinstance(value, Undefined):
            return str(value)  # raises
        if not isinstance(value, Mapping):
            raise TypeError(f".{method}() is for mappings")
        budget_of(context).charge(1 if method == "get" else len(value))
        result = getattr(value, method)(*arguments)
        return result if method == "get" else list(result)

    return called


def _one(items: list[Any], index: int) -> Any:
    return items[index] if items else None


@pass_context
def _truncate(
    context: Context, value: Any, length: int = 255, killwords: bool = False, end: str = "..."
) -> str:
    length = max(int(length), len(str(end)))
    return builtin.do_truncate(context.environment, _text(context, value), length, killwords, str(end), 0)


@pass_context
def _urlencode(context: Context, value: Any) -> str:
    if isinstance(value, Mapping):
        return builtin.do_urlencode({key: _text(context, item) for key, item in value.items()})
    return builtin.do_urlencode(_text(context, value))


@pass_context
def _date(context: Context, value: Any, form: str = "%Y-%m-%d", timezone: str | None = None) -> str:
    budget_of(context).text(len(form))
    return format_date(_defined(value), form, timezone)


@pass_context
def _money(context: Context, value: Any, currency: str = "USD") -> str:
    budget_of(context).charge(1)
    return format_money(_defined(value), currency)


def _defined(value: Any) -> Any:
    return str(value) if isinstance(value, Undefined) else value  # str() of an undefined value raises


PUBLIC_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    "abs": builtin.FILTERS["abs"],
    "capitalize": _over_text(str.capitalize),
    "count": _over_items(len, "nothing"),
    "d": builtin.do_default,
    "date": _date,
    "default": builtin.do_default,
    "first": _over_items(lambda items: _one(items, 0), "nothing"),
    "float": builtin.do_float,
    "int": builtin.do_int,
    "items": _over_mapping("items"),
    "join": _join,
    "last": _over_items(lambda items: _one(items, -1), "nothing"),
    "length": _over_items(len, "nothing"),
    "list": _over_items(list, "nothing"),
    "lower": _over_text(str.lower),
    "map": _map,
    "max": _over_items(builtin.do_max, "environment"),
    "min": _over_items(builtin.do_min, "environment"),
    "money": _money,
    "reject": _over_items(builtin.sync_do_reject, "context"),
    "rejectattr": _over_items(builtin.sync_do_rejectattr, "context"),
    "replace": _replace,
    "reverse": _over_items(lambda items: items[::-1], "nothing"),
    "round": _round,
    "select": _over_items(builtin.sync_do_select, "context"),
    "selectattr": _over_items(builtin.sync_do_selectattr, "context"),
    "sort": _over_items(builtin.do_sort, "environment"),
    "string": _display,
    "sum": _sum,
    "title": _over_text(builtin.do_title),
    "tojson": _tojson,
    "trim": _over_text(str.strip),
    "truncate": _truncate,
    "unique": _over_items(builtin.do_unique, "environment"),
    "upper": _over_text(str.upper),
    "urlencode": _urlencode,
})  # fmt: skip

_METHODS: dict[str, Callable[..., Any]] = {
    **{guard.METHOD.format(name): _over_text(getattr(str, name)) for name in guard.TEXT_METHODS},
    **{guard.METHOD.format(name): _over_mapping(name) for name in guard.MAPPING_METHODS},
    guard.METHOD.format("split"): _split,
}

INTERNAL_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    guard.ITERATE: _iterate,
    guard.JOINED: _joined,
    guard.OPERAND: _operand,
    guard.LITERAL: _literal,
    **_METHODS,
})  # fmt: skip

_TESTS: Mapping[str, Any] = builtin_tests.TESTS
PUBLIC_TESTS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    name: _TESTS[name]
    for name in (
        "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "greaterthan", "gt",
        "in", "integer", "iterable", "le", "lessthan", "lt", "mapping", "ne", "none", "number", "odd", "sequence",
        "string", "true", "undefined",
    )
})  # fmt: skip

LOOP_MEMBERS = frozenset({"depth", "first", "index", "index0", "last", "length", "nextitem", "previtem", "revindex",
                          "revindex0"})  # fmt: skip


def member(value: Any, name: str, missing: Callable[..., Undefined]) -> Any:
    """``value.name``: a mapping's value or a loop's counter; a Python attribute of nothing."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, Mapping):
        return value[name] if name in value else missing(obj=value, name=name)
    if isinstance(value, LoopContext) and name in LOOP_MEMBERS:
        return getattr(value, name)
    return missing(obj=value, name=name)


def subscript(value: Any, key: Any, missing: Callable[..., Undefined]) -> Any:
    """``value[key]``: of a mapping, list or text; an index out of range is undefined."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, Mapping):
        return value[key] if isinstance(key, str | int | float | bool) and key in value else member(
            value, str(key), missing
        )  # fmt: skip
    if isinstance(value, str | list | tuple | range) and isinstance(key, int | slice):
        try:
            return value[key]
        except IndexError:
            return missing(obj=value, name=key)
    return missing(obj=value, name=key)
