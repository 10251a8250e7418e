"""What a template may contain: everything else is refused when it is compiled, before anything runs.

The guard also rewrites the tree so that loops, joined texts, comparisons and literals pass through internal
filters which spend the rendering's budget. Internal filters have names that no template can write.
"""

from typing import Any, NoReturn, cast

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer

ITERATE = "(iterate)"
JOINED = "(joined)"
OPERAND = "(operand)"
LITERAL = "(literal)"
URL_PART = "(url part)"
METHOD = "(method) {}"

TEXT_METHODS = (
    "capitalize",
    "endswith",
    "lower",
    "lstrip",
    "rstrip",
    "split",
    "startswith",
    "strip",
    "title",
    "upper",
)
MAPPING_METHODS = ("get", "items", "keys", "values")
FUNCTIONS = ("range",)

_RESERVED = frozenset({"self", "super"})
_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Tuple, nodes.List,
    nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem,
    nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.For,
    nodes.If, nodes.Assign,
)  # fmt: skip
_STATEMENTS = {
    nodes.Macro: "macros", nodes.CallBlock: "call blocks", nodes.Include: "includes", nodes.Import: "imports",
    nodes.FromImport: "imports", nodes.Extends: "inheritance", nodes.Block: "blocks",
    nodes.FilterBlock: "filter blocks", nodes.AssignBlock: "set blocks", nodes.NSRef: "namespaces",
    nodes.Pow: "powers", nodes.With: "with blocks",
}  # fmt: skip


class Guard(NodeTransformer):
    """Checks and rewrites one tree. Raises TemplateSyntaxError at the first node that is not allowed."""

    def __init__(self, filters: frozenset[str], tests: frozenset[str], max_depth: int) -> None:
        self._filters = filters
        self._tests = tests
        self._max_depth = max_depth
        self._depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Check one node and all below it."""
        if not isinstance(node, _ALLOWED):
            what = _STATEMENTS.get(type(node), f"`{type(node).__name__}`")
            _refuse(node, f"{what} are not available in templates")
        self._depth += 1
        if self._depth > self._max_depth:
            _refuse(node, f"it is nested deeper than {self._max_depth} levels")
        try:
            return super().visit(node, *args, **kwargs)
        finally:
            self._depth -= 1

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - named by the visitor protocol
        """Names that begin with an underscore are nobody's, and ``self`` would be Jinja's own object."""
        _public(node, node.name)
        if node.name in _RESERVED:
            _refuse(node, f"`{node.name}` is not available in templates")
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802
        """Members by name."""
        _public(node, node.attr)
        self.generic_visit(node)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Members by key or index."""
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            _public(node, node.arg.value)
        self.generic_visit(node)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """``range(...)`` and the listed methods; a method becomes a filter, so no object's own is called."""
        _no_unpacking(node)
        if node.kwargs:
            _refuse(node, "range() and methods take no named arguments")
        if isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS:
            node.args = [self.visit(argument) for argument in node.args]
            return node
        if not isinstance(node.node, nodes.Getattr) or node.node.attr not in (
            *TEXT_METHODS,
            *MAPPING_METHODS,
        ):
            methods = ", ".join(sorted((*TEXT_METHODS, *MAPPING_METHODS)))
            _refuse(node, f"only range() and these methods can be called: {methods}")
        arguments = [self.visit(argument) for argument in node.args]
        return _wrapped(self.visit(node.node.node), METHOD.format(node.node.attr), *arguments)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        """Filters of the allow-list."""
        _no_unpacking(node)
        if node.name not in self._filters:
            _refuse(node, f"there is no filter `{node.name}`; there are {', '.join(sorted(self._filters))}")
        self.generic_visit(node)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802
        """Tests of the allow-list."""
        _no_unpacking(node)
        if node.name not in self._tests:
            _refuse(node, f"there is no test `{node.name}`; there are {', '.join(sorted(self._tests))}")
        self.generic_visit(node)
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Loops, each pass charged with the size of its body."""
        if node.recursive:
            _refuse(node, "recursive loops are not available in templates")
        body = sum(1 + sum(1 for _ in part.find_all(nodes.Node)) for part in (*node.body, node.test) if part)
        self.generic_visit(node)
        node.iter = _wrapped(cast("nodes.Expr", node.iter), ITERATE, nodes.Const(body))
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802
        """``a if b``: without an ``else`` it is null."""
        if node.expr2 is None:
            node.expr2 = nodes.Const(None, lineno=node.lineno)
        self.generic_visit(node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """``a ~ b``, with a limit on the length."""
        self.generic_visit(node)
        return _wrapped(nodes.List(node.nodes, lineno=node.lineno), JOINED)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Comparisons, charged with the size of what is compared."""
        self.generic_visit(node)
        node.expr = _weighed(node.expr)
        for operand in node.ops:
            operand.expr = _weighed(operand.expr)
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """Tuples, as values and as targets of ``for`` and ``set``."""
        self.generic_visit(node)
        return _wrapped(node, LITERAL) if node.ctx == "load" else node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        """Lists."""
        self.generic_visit(node)
        return _wrapped(node, LITERAL)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        """Mappings."""
        self.generic_visit(node)
        return _wrapped(node, LITERAL)


def _weighed(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _wrapped(node, OPERAND)


def _wrapped(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    made = nodes.Filter(node, name, list(arguments), [], None, None)
    made.set_lineno(node.lineno)
    return made


def _public(node: nodes.Node, name: str) -> None:
    if name.startswith("_"):
        _refuse(node, f"`{name}`: names that begin with an underscore are not available in templates")


def _no_unpacking(node: nodes.Call | nodes.Filter | nodes.Test) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        _refuse(node, "arguments cannot be unpacked with * or ** in templates")


def _refuse(node: nodes.Node, reason: str) -> NoReturn:
    raise TemplateSyntaxError(reason, node.lineno)
