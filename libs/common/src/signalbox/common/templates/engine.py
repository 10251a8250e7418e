"""Templates of one snapshot: each compiled once, rendered within limits."""

from collections.abc import Mapping
from typing import Any, Literal

import jinja2
from jinja2 import nodes

from signalbox.common.templates import urls
from signalbox.common.templates.budget import CONTEXT_KEY, Budget, Limits
from signalbox.common.templates.environment import EXPRESSION_VALUE, SandboxEnvironment
from signalbox.common.templates.errors import TemplateError, template_name
from signalbox.common.templates.localized import localized
from signalbox.contracts.base import LocalizedText

_Kind = Literal["text", "value", "expression", "url"]
_MAX_COMPILED = 20_000
_MAX_DEPTH = 64
_MAX_REASON = 300
_SYNTAX_ERRORS = (jinja2.TemplateError, SyntaxError, RecursionError, MemoryError, ValueError, OverflowError)
_RUN_ERRORS = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError, AssertionError,
)  # fmt: skip


class Templates:
    """Compiles templates on first use and keeps them; make one per snapshot and drop it with the snapshot.

    Values are mappings, lists, texts, numbers, booleans, null, dates and decimals; nothing else of an object
    can be reached. ``name`` is how an error names the template. Every method raises TemplateError.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._environment = SandboxEnvironment(self._limits)
        self._environment.filters.update(urls.URL_FILTERS)
        self._compiled: dict[tuple[_Kind, str], tuple[jinja2.Template, bool]] = {}
        self._references: dict[tuple[str, bool], frozenset[tuple[str, ...]]] = {}

    def check(self, template: str, *, name: str = "") -> None:
        """Compile a text template, without values."""
        self._get("value", template, name)

    def check_expression(self, expression: str, *, name: str = "") -> None:
        """Compile an expression, without values."""
        self._get("expression", expression, name)

    def check_url(self, template: str, *, name: str = "") -> None:
        """Compile a URL template and check what can be known of it without values."""
        self._get("url", template, name)

    def references(self, source: str, *, expression: bool = False) -> frozenset[tuple[str, ...]]:
        """Dotted names that a template or expression reads, such as ``("slots", "order_id")``.

        Names that the template gives itself (``set``, ``for``) are left out.
        """
        known = self._references.get((source, expression))
        if known is not None:
            return known
        try:
            tree = self._environment.read_expression(source) if expression else self._environment.read(source)
        except _SYNTAX_ERRORS as error:
            raise TemplateError(template_name("", source), _reason(error)) from None
        given = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"} | {"loop"}
        chains: set[tuple[str, ...]] = set()
        _collect(tree, chains)
        found = frozenset(chain for chain in chains if chain[0] not in given)
        if len(self._references) < _MAX_COMPILED:
            self._references[source, expression] = found
        return found

    def render_text(self, template: str, values: Mapping[str, Any], *, name: str = "") -> str:
        """The text of a template."""
        if "{" not in template:
            return template
        compiled, _ = self._get("text", template, name)
        return self._text(compiled, values, Budget(self._limits), template_name(name, template))

    def render_value(self, value: Any, values: Mapping[str, Any], *, name: str = "") -> Any:
        """A copy of a value with each text in it rendered; keys of mappings are not templates.

        A text that is one whole ``{{ expression }}`` keeps the type of what it gives.
        """
        return self._value(value, values, Budget(self._limits), name, 0)

    def evaluate(self, expression: str, values: Mapping[str, Any], *, name: str = "") -> Any:
        """The value of an expression."""
        compiled, _ = self._get("expression", expression, name)
        return self._run(compiled, values, Budget(self._limits), template_name(name, expression))

    def render_url(self, template: str, values: Mapping[str, Any], *, name: str = "") -> str:
        """An absolute URL, each placeholder percent-encoded as one segment of the path or value of the query.

        Before the path only ``vars`` may be used, and their text is taken as it is.
        """
        compiled, _ = self._get("url", template, name)
        shown = template_name(name, template)
        marked = self._text(compiled, values, Budget(self._limits), shown)
        try:
            return urls.assemble(marked)
        except ValueError as error:
            raise TemplateError(shown, _reason(error)) from None

    def localized(
        self, text: LocalizedText, language: str, default_language: str, seed: str
    ) -> tuple[str, str]:
        """The template to render and the language that it is in; see ``localized`` of this package."""
        return localized(text, language, default_language, seed)

    def _value(self, value: Any, values: Mapping[str, Any], budget: Budget, name: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise TemplateError(template_name(name, ""), f"it is nested deeper than {_MAX_DEPTH} levels")
        if isinstance(value, str):
            if "{" not in value:
                return value
            compiled, whole = self._get("value", value, name)
            shown = template_name(name, value)
            return (self._run if whole else self._text)(compiled, values, budget, shown)
        if isinstance(value, Mapping):
            return {key: self._value(item, values, budget, name, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item, values, budget, name, depth + 1) for item in value]
        return value

    def _get(self, kind: _Kind, source: str, name: str) -> tuple[jinja2.Template, bool]:
        """The compiled template, and whether it is one whole expression whose value is wanted."""
        found = self._compiled.get((kind, source))
        if found is None:
            try:
                found = self._compile(kind, source)
            except _SYNTAX_ERRORS as error:
                raise TemplateError(template_name(name, source), _reason(error)) from None
            if len(self._compiled) < _MAX_COMPILED:
                self._compiled[kind, source] = found
        return found

    def _compile(self, kind: _Kind, source: str) -> tuple[jinja2.Template, bool]:
        environment = self._environment
        tree = environment.read_expression(source) if kind == "expression" else environment.read(source)
        whole = kind == "expression" or (kind == "value" and _is_whole_expression(tree))
        if kind == "url":
            urls.check_static(tree)
        environment.checked(tree)
        if kind == "url":
            urls.mark_placeholders(tree)
            tree.set_environment(environment)
        return (environment.compiled_value(tree) if whole else environment.compiled(tree)), whole

    def _text(self, compiled: jinja2.Template, values: Mapping[str, Any], budget: Budget, shown: str) -> str:
        pieces: list[str] = []
        try:
            context = compiled.new_context({**values, CONTEXT_KEY: budget})
            for piece in compiled.root_render_func(context):
                budget.emit(len(piece))
                pieces.append(piece)
        except _RUN_ERRORS as error:
            raise TemplateError(shown, _reason(error)) from None
        return "".join(pieces)

    def _run(self, compiled: jinja2.Template, values: Mapping[str, Any], budget: Budget, shown: str) -> Any:
        try:
            context = compiled.new_context({**values, CONTEXT_KEY: budget})
            for _ in compiled.root_render_func(context):
                pass
            value = context.vars[EXPRESSION_VALUE]
            budget.weigh(value, given_out=True)
        except _RUN_ERRORS as error:
            raise TemplateError(shown, _reason(error)) from None
        return list(value) if isinstance(value, tuple | range) else value


def _is_whole_expression(tree: nodes.Template) -> bool:
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return False
    parts = tree.body[0].nodes
    return len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData)


def _collect(node: nodes.Node, chains: set[tuple[str, ...]]) -> None:
    chain = _chain(node)
    if chain is not None:
        chains.add(chain)
        return
    for child in node.iter_child_nodes():
        _collect(child, chains)


def _chain(node: nodes.Node) -> tuple[str, ...] | None:
    members: list[str] = []
    while True:
        if isinstance(node, nodes.Name):
            return (node.name, *reversed(members)) if node.ctx == "load" else None
        if isinstance(node, nodes.Getattr):
            members.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            members.append(str(node.arg.value))
        else:
            return None
        node = node.node


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, jinja2.TemplateSyntaxError):
        reason = f"line {error.lineno}: {' '.join((error.message or '').split())}"
    return f"{reason[:_MAX_REASON].removesuffix('.')}."
