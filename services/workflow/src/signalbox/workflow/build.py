"""Building what a snapshot needs before it can be published: for now, the compiled rules.

Many rules are compiled in a process of their own (``build_process``): it takes seconds, which no request of this
process has to wait for, and a compiler that dies takes nothing with it.
"""

import asyncio
import base64
import hashlib
import sys
from importlib.metadata import version

from signalbox.common.rules import FEW_RULES, CompiledRules, Re2Engine, RulesTooLarge
from signalbox.common.rules.hyperscan_rules import this_platform
from signalbox.common.validation import load_snapshot
from signalbox.contracts.admin import Artefact, BuildReply, BuildRequest
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.apart import run_apart
from signalbox.workflow.matching.rule_matcher import rules_of
from signalbox.workflow.snapshot import RULES_ARTEFACT

NO_DATABASE = "rules_without_database"
WITHOUT_DATABASE = "--without-database"
"""The option of the process that leaves the rules to RE2."""

_COMMAND = (sys.executable, "-m", "signalbox.workflow.build_process")
_MEDIA_TYPE = "application/octet-stream"


class Builder:
    """Builds artefacts of snapshots.

    ``memory``, in bytes, is what the rules of a snapshot may take; ``timeout_s`` is the time that their database may.
    """

    def __init__(self, memory: int, timeout_s: float) -> None:
        self._memory = memory
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

    async def build(self, request: BuildRequest) -> BuildReply:
        """The artefacts of a document; errors in the reply make it unfit to publish."""
        config = await asyncio.to_thread(load_snapshot, request.document.encode())
        if (
            sum(len(intent.when.patterns) + len(intent.when.keywords) for intent in config.intents)
            < FEW_RULES
        ):
            return await asyncio.to_thread(build_rules, config, self._memory)
        # One at a time: each takes a whole core, and memory.
        async with self._turn:
            reply = await self._apart(request)
            if reply is not None:
                return reply
            reply = await self._apart(request, WITHOUT_DATABASE)
        if reply is None:
            detail = (
                "The rules could not be compiled: the process that does it ended. See the log of Workflow."
            )
            return BuildReply(errors=[ProblemError(pointer="/intents", code="build_failed", detail=detail)])
        detail = f"The rules' database was not ready in {self._timeout_s:g} s, or its compiler ended: RE2 matches them."
        warning = ProblemError(pointer="/intents", code=NO_DATABASE, detail=detail)
        return reply.model_copy(update={"warnings": [*reply.warnings, warning]})

    async def _apart(self, request: BuildRequest, *options: str) -> BuildReply | None:
        """What another process builds; None where it ends without a reply, or is not done in time."""
        command = (*_COMMAND, str(self._memory), *options)
        reply = await run_apart(command, request.model_dump_json().encode(), self._timeout_s, {})
        return None if reply is None else BuildReply.model_validate_json(reply)


def build_rules(config: WorkflowConfig, memory: int) -> BuildReply:
    """The rules of a config as RE2 has them, checked against the memory that they may take."""
    rules = rules_of(config.intents)
    try:
        compiled = Re2Engine(memory).compile(rules)
    except RulesTooLarge as error:
        return BuildReply(errors=[ProblemError(pointer="/intents", code=error.code, detail=error.detail)])
    artefact = rules_artefact(compiled, f"google-re2/{version('google-re2')}")
    return BuildReply(artefacts=[artefact], report={"rules": len(rules)})


def rules_artefact(compiled: CompiledRules, builder: str) -> Artefact:
    """Compiled rules as an artefact of their snapshot."""
    data = compiled.serialise()
    return Artefact(
        name=RULES_ARTEFACT,
        builder=builder,
        platform=this_platform(),
        media_type=_MEDIA_TYPE,
        sha256=hashlib.sha256(data).hexdigest(),
        data_base64=base64.b64encode(data).decode(),
    )
