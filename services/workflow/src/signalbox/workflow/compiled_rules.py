"""Compiling the rules of a snapshot, in whichever process does it, and the bytes that one hands to another.

Imports nothing but rules: a process that is started to compile some does little else.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

import orjson

from signalbox.common.record import record
from signalbox.common.rules import DatabaseUnusable, Re2Engine, Rule, RulesTooLarge
from signalbox.common.rules.hyperscan_engine import HyperscanEngine
from signalbox.common.rules.hyperscan_rules import hyperscan_builder, this_platform
from signalbox.common.rules.table import RuleTable


@record
class BuiltRules:
    """What became of a set of rules."""

    data: bytes
    """Serialised rules; none where they do not fit."""
    builder: str
    """Name and version of what compiled them."""
    too_large: str = ""
    """Why they do not fit the memory that they may take."""
    no_database: str = ""
    """Why they are without a database."""

    def to_bytes(self) -> bytes:
        """One line of JSON, then the rules."""
        head = {
            "builder": self.builder,
            "too_large": self.too_large,
            "no_database": self.no_database,
            "sha256": hashlib.sha256(self.data).hexdigest(),
        }
        return orjson.dumps(head) + b"\n" + self.data

    @classmethod
    def from_bytes(cls, given: bytes) -> "BuiltRules":
        """Read it. Raises ValueError for anything else, damage included."""
        line, _, data = given.partition(b"\n")
        head = orjson.loads(line)
        if not isinstance(head, dict) or head.pop("sha256", "") != hashlib.sha256(data).hexdigest():
            raise ValueError("these are not rules that were built, or they are damaged")
        return cls(data, **head)


def build_rules(rules: Sequence[Rule], memory: int) -> BuiltRules:
    """Rules as RE2 has them, checked against the bytes that they may take."""
    builder = f"google-re2/{version('google-re2')}"
    try:
        compiled = Re2Engine(memory).compile(rules)
    except RulesTooLarge as error:
        return BuiltRules(b"", builder, too_large=error.detail)
    return BuiltRules(compiled.serialise(), builder)


def build_database(rules: Sequence[Rule], memory: int) -> BuiltRules:
    """Rules that RE2 accepts, in a database; as RE2 has them where there can be none. Takes 1 ms a rule and more."""
    built = build_rules(rules, memory)
    if built.too_large:
        return built
    try:
        compiled = HyperscanEngine(memory).compile(rules)
    except DatabaseUnusable as error:
        return BuiltRules(built.data, built.builder, no_database=str(error))
    return BuiltRules(compiled.serialise(), hyperscan_builder())


def identity(rules: Sequence[Rule], memory: int) -> str:
    """A name for what ``build_database`` makes of rules here, and for nothing else.

    Raises:
        DatabaseUnusable: no database can be built here.
    """
    makers = [version("google-re2"), hyperscan_builder(), this_platform(), memory]
    return hashlib.sha256(orjson.dumps([makers, RuleTable.of(rules).columns()])).hexdigest()
