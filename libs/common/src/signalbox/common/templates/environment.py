"""The sandbox: a Jinja environment whose every operation is on an allow-list or spends the budget."""

import operator
from collections.abc import Callable
from decimal import Decimal
from types import CodeType
from typing import Any

from jinja2 import StrictUndefined, Template, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from signalbox.common.templates import filters
from signalbox.common.templates.budget import Limits
from signalbox.common.templates.guard import Guard

EXPRESSION_VALUE = "value_of_the_expression"
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_MAX_BITS = 256


class MissingValue(StrictUndefined):
    """A value that is not there: fine for ``default`` and ``is defined``, an error for everything else."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        where = "is not defined here" if self._undefined_obj is missing else "has no value here"
        return f"`{self._undefined_name}` {where}; give it one, or write `| default(...)`"


@pass_context
def _finalize(context: Context, value: Any) -> str:
    return filters.display(value, filters.budget_of(context))


class SandboxEnvironment(ImmutableSandboxedEnvironment):
    """Parses, checks and compiles; templates see mappings, lists and scalars and nothing of Python."""

    intercepted_binops = frozenset(_OPERATORS)

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            undefined=MissingValue,
            finalize=_finalize,
            autoescape=False,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._limits = limits
        self.filters = {**filters.PUBLIC_FILTERS, **filters.INTERNAL_FILTERS}
        self.tests = dict(filters.PUBLIC_TESTS)
        self.globals = {"range": filters.bounded_range}

    def read(self, source: str) -> nodes.Template:
        """The unchecked syntax tree of a template. Raises TemplateSyntaxError."""
        self._check_length(source)
        return self.parse(source)

    def read_expression(self, source: str) -> nodes.Template:
        """The unchecked syntax tree of one expression, as a template that outputs it alone."""
        self._check_length(source)
        parser = Parser(self, source, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(f"unexpected {parser.stream.current.value!r} after the expression", 1)
        body: list[nodes.Node] = [nodes.Output([expression], lineno=1)]
        return nodes.Template(body, lineno=1).set_environment(self)  # type: ignore[return-value]

    def checked(self, tree: nodes.Template) -> nodes.Template:
        """The tree, checked and rewritten by the guard. Raises TemplateSyntaxError."""
        guard = Guard(
            frozenset(filters.PUBLIC_FILTERS), frozenset(filters.PUBLIC_TESTS), self._limits.source_depth
        )
        guard.visit(tree)
        tree.set_environment(self)
        return tree

    def compiled(self, tree: nodes.Template) -> Template:
        """A checked tree as a template that can be rendered."""
        code: CodeType = self.compile(tree)
        return Template.from_code(self, code, self.globals)

    def compiled_value(self, tree: nodes.Template) -> Template:
        """A checked tree of one expression, as a template that leaves its value under EXPRESSION_VALUE."""
        output = tree.body[0]
        target = nodes.Name(EXPRESSION_VALUE, "store", lineno=1)
        tree.body = [nodes.Assign(target, output.nodes[0], lineno=1)]  # type: ignore[attr-defined]
        return self.compiled(tree.set_environment(self))  # type: ignore[arg-type]

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``; see ``filters.member``."""
        return filters.member(obj, attribute, self.undefined)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``; see ``filters.subscript``."""
        return filters.subscript(obj, argument, self.undefined)

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: PYI063 - Jinja's own
        """Call ``range``, the only function there is."""
        if __obj is not filters.bounded_range:
            raise SecurityError("only range() can be called")
        return __obj(*args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers, and ``+`` on texts and on lists, within limits."""
        budget = filters.budget_of(context)
        budget.charge(1)
        for side in (left, right):
            if isinstance(side, Undefined):
                str(side)  # raises
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            budget.text(len(left) + len(right))
        elif operator == "+" and isinstance(left, list) and isinstance(right, list):
            budget.weigh([left, right])
        elif not _is_number(left) or not _is_number(right):
            kinds = f"{type(left).__name__} and {type(right).__name__}"
            raise TypeError(f"`{operator}` is not for {kinds}; texts are joined with `~`")
        elif operator == "*" and _bits(left) + _bits(right) > _MAX_BITS:
            raise ValueError("a product is too large")
        return _OPERATORS[operator](left, right)

    def _check_length(self, source: str) -> None:
        if len(source) > self._limits.source_chars:
            raise TemplateSyntaxError(f"it is longer than {self._limits.source_chars} characters", 1)


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
