"""Building what a snapshot needs before it can be published: for now, the compiled rules."""

import asyncio
import base64
import hashlib
import platform
from importlib.metadata import version

from signalbox.common.rules import Re2Engine, RulesTooLarge
from signalbox.common.validation import load_snapshot
from signalbox.contracts.admin import Artefact, BuildReply, BuildRequest
from signalbox.contracts.problem import ProblemError
from signalbox.workflow.matching.rule_matcher import RuleMatcher
from signalbox.workflow.snapshot import RULES_ARTEFACT

_MEDIA_TYPE = "application/octet-stream"


class Builder:
    """Builds artefacts of snapshots."""

    def __init__(self, engine: Re2Engine) -> None:
        self._engine = engine

    async def build(self, request: BuildRequest) -> BuildReply:
        """The artefacts of a document; errors in the reply make it unfit to publish."""
        return await asyncio.to_thread(self._build, request)

    def _build(self, request: BuildRequest) -> BuildReply:
        config = load_snapshot(request.document.encode())
        try:
            rules = RuleMatcher(config.intents, self._engine)
        except RulesTooLarge as error:
            return BuildReply(errors=[ProblemError(pointer="/intents", code=error.code, detail=error.detail)])
        data = rules.serialise()
        artefact = Artefact(
            name=RULES_ARTEFACT,
            builder=f"google-re2/{version('google-re2')}",
            platform=f"{platform.system()}-{platform.machine()}".lower(),
            media_type=_MEDIA_TYPE,
            sha256=hashlib.sha256(data).hexdigest(),
            data_base64=base64.b64encode(data).decode(),
        )
        count = sum(len(intent.when.patterns) + len(intent.when.keywords) for intent in config.intents)
        return BuildReply(artefacts=[artefact], report={"rules": count})
