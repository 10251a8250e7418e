"""SQL statements: one text for both databases, compiled once per dialect, run by the drivers directly."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from signalbox.common.record import record

Dialect = Literal["postgresql", "sqlite"]
Params = Mapping[str, Any]

_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_PART = re.compile(rf"{_QUOTED}|/\*(?P<dialect>postgresql|sqlite)\s(?P<sql>.*?)\*/", re.DOTALL)
_TOKEN = re.compile(
    rf"{_QUOTED}|/\*.*?\*/|--[^\n]*|::|:(?P<name>[A-Za-z_]\w*)|(?P<word>[\w$]+|[()])", re.DOTALL
)
_VERBS = frozenset({"SELECT", "VALUES", "INSERT", "UPDATE", "DELETE"})


@record
class CompiledStatement:
    """A statement in one dialect.

    PostgreSQL: placeholders ``$1, $2, ...`` in the order of ``names``. SQLite: ``:name``.
    """

    sql: str
    names: tuple[str, ...]
    returns_rows: bool

    def bind(self, params: Params) -> Params:
        """The parameters; raises TypeError naming those without a value."""
        for name in self.names:
            if name not in params:
                missing = [each for each in self.names if each not in params]
                raise TypeError(f"no value for {', '.join(missing)} in: {self.sql}")
        return params


class Statement:
    """SQL with ``:name`` placeholders, the same text for both databases, run by the driver directly.

    Make one at module level and run it with different parameters: PostgreSQL prepares it after a few uses.
    What only one database has stands in a comment that names it, such as
    ``/*postgresql FOR UPDATE SKIP LOCKED*/``; the other leaves it out. For a list use ``any_of``.

    PostgreSQL infers a parameter's type from where it stands first: the column that it is compared with or
    assigned to. Where it stands beside a literal or in an expression, write ``CAST(:name AS bigint)``.
    Column types are limited to those that need no conversion: text, 64-bit integers, floats and bytes.
    Times are integer milliseconds; JSON is text; money is integer 10^-12 units of its currency.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._compiled: dict[Dialect, CompiledStatement] = {}

    def compiled(self, dialect: Dialect) -> CompiledStatement:
        """The statement in ``dialect``."""
        compiled = self._compiled.get(dialect)
        if compiled is None:
            compiled = self._compiled[dialect] = _compile(self.sql, dialect)
        return compiled


def any_of(column: str, values: str, kind: Literal["text", "bigint"] = "text") -> str:
    """SQL for ``column IN (...)`` with one parameter, named ``values``, for the whole list.

    So the statement is the same for every length. An empty list matches nothing.
    """
    postgresql = f"{column} = ANY (CAST(:{values} AS {kind}[]))"
    sqlite = f"{column} IN (SELECT value FROM json_each(:{values}))"  # noqa: S608 - names of ours
    return f"(/*postgresql {postgresql}*//*sqlite {sqlite}*/)"


def _compile(sql: str, dialect: Dialect) -> CompiledStatement:
    def of_dialect(part: re.Match[str]) -> str:
        if part["dialect"] is None:
            return part[0]
        return part["sql"] if part["dialect"] == dialect else ""

    names: dict[str, int] = {}

    def placeholder(token: re.Match[str]) -> str:
        name = token["name"]
        if name is None:
            return token[0]
        number = names.setdefault(name, len(names) + 1)
        return f"${number}" if dialect == "postgresql" else token[0]

    chosen = _PART.sub(of_dialect, sql).strip()
    return CompiledStatement(_TOKEN.sub(placeholder, chosen), tuple(names), _returns_rows(chosen))


def _returns_rows(sql: str) -> bool:
    """Whether it is a query, or a change with RETURNING, common table expressions set aside."""
    depth = 0
    verb = ""
    for token in _TOKEN.finditer(sql):
        word = (token["word"] or "").upper()
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in _VERBS:
            verb = verb or word
        if depth == 0 and word == "RETURNING":
            return True
    return verb in {"SELECT", "VALUES"}
