"""Building what a snapshot needs before it can be published: the compiled rules.

Many rules are compiled in a process of their own (``build_process``): it takes seconds, which no request of this
process has to wait for, and a compiler that dies takes nothing with it. Most publishes change texts and flows and no
rule, so what was built of the same rules is used again.
"""

import asyncio
import base64
import hashlib
import sys
from collections.abc import Sequence

import orjson

from signalbox.common.kept_files import KeptFiles
from signalbox.common.rules import FEW_RULES, DatabaseUnusable, Rule
from signalbox.common.rules.hyperscan_rules import this_platform
from signalbox.common.rules.table import RuleTable
from signalbox.common.validation import load_snapshot
from signalbox.contracts.admin import Artefact, BuildReply, BuildRequest
from signalbox.contracts.problem import ProblemError
from signalbox.workflow.apart import run_apart
from signalbox.workflow.build_process import WITHOUT_DATABASE
from signalbox.workflow.compiled_rules import BuiltRules, build_rules, identity
from signalbox.workflow.matching.rule_matcher import rules_of
from signalbox.workflow.snapshot import RULES_ARTEFACT

NO_DATABASE = "rules_without_database"

_COMMAND = (sys.executable, "-m", "signalbox.workflow.build_process")
_MEDIA_TYPE = "application/octet-stream"


class Builder:
    """Builds artefacts of snapshots.

    ``memory``, in bytes, is what the rules of a snapshot may take; ``timeout_s`` is the time that their database may;
    ``kept`` is where databases are kept for the next snapshot with the same rules.
    """

    def __init__(self, memory: int, timeout_s: float, kept: KeptFiles) -> None:
        self._memory = memory
        self._timeout_s = timeout_s
        self._kept = kept
        self._turn = asyncio.Lock()

    async def build(self, request: BuildRequest) -> BuildReply:
        """The artefacts of a document; errors in the reply make it unfit to publish."""
        config = await asyncio.to_thread(load_snapshot, request.document.encode())
        rules = await asyncio.to_thread(rules_of, config.intents)
        if len(rules) < FEW_RULES:
            return _reply(len(rules), await asyncio.to_thread(build_rules, rules, self._memory))
        name = await asyncio.to_thread(self._name, rules)
        # One at a time: each takes a whole core, and memory.
        async with self._turn:
            built = await asyncio.to_thread(self._read, name)
            if built is not None:
                return _reply(len(rules), built)
            built = await self._apart(rules)
            if built is not None:
                if name and not built.too_large and not built.no_database:
                    await asyncio.to_thread(self._kept.write, name, built.to_bytes())
                return _reply(len(rules), built)
            built = await self._apart(rules, WITHOUT_DATABASE)
        if built is None:
            detail = (
                "The rules could not be compiled: the process that does it ended. See the log of Workflow."
            )
            return BuildReply(errors=[ProblemError(pointer="/intents", code="build_failed", detail=detail)])
        detail = f"The rules' database was not ready in {self._timeout_s:g} s, or its compiler ended: RE2 matches them."
        reply = _reply(len(rules), built)
        return reply.model_copy(update={"warnings": [_without_database(detail)]})

    def _name(self, rules: Sequence[Rule]) -> str:
        """What the database of the rules is kept under; empty where there can be none."""
        try:
            return identity(rules, self._memory)
        except DatabaseUnusable:
            return ""

    def _read(self, name: str) -> BuiltRules | None:
        """What was built of the same rules; None where nothing is kept of it, or no longer whole."""
        kept = self._kept.read(name) if name else None
        try:
            return None if kept is None else BuiltRules.from_bytes(kept)
        except (ValueError, TypeError):
            return None

    async def _apart(self, rules: Sequence[Rule], *options: str) -> BuiltRules | None:
        """What another process builds; None where it ends without a reply, or is not done in time."""
        command = (*_COMMAND, str(self._memory), *options)
        given = await asyncio.to_thread(lambda: orjson.dumps(RuleTable.of(rules).columns()))
        reply = await run_apart(command, given, self._timeout_s, {})
        return None if reply is None else BuiltRules.from_bytes(reply)


def _reply(count: int, built: BuiltRules) -> BuildReply:
    if built.too_large:
        error = ProblemError(pointer="/intents", code="rules_too_large", detail=built.too_large)
        return BuildReply(errors=[error])
    artefact = Artefact(
        name=RULES_ARTEFACT,
        builder=built.builder,
        platform=this_platform(),
        media_type=_MEDIA_TYPE,
        sha256=hashlib.sha256(built.data).hexdigest(),
        data_base64=base64.b64encode(built.data).decode(),
    )
    warnings = []
    if built.no_database:
        detail = f"RE2 matches the rules, which is slower: they have no database. {built.no_database}"
        warnings.append(_without_database(detail))
    return BuildReply(artefacts=[artefact], warnings=warnings, report={"rules": count})


def _without_database(detail: str) -> ProblemError:
    return ProblemError(pointer="/intents", code=NO_DATABASE, detail=detail)
