"""Building a snapshot's classifier from its intents' examples, in a process of its own."""

import asyncio
import base64
import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

from signalbox.common.clients import CallLabels
from signalbox.common.errors import SignalboxError
from signalbox.common.ids import new_id
from signalbox.common.rules import normalise
from signalbox.common.validation import load_snapshot
from signalbox.contracts.admin import Artefact, BuildReply, BuildRequest
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.apart import run_apart
from signalbox.workflow.examples.texts import to_encode
from signalbox.workflow.matching.example_matcher import EXAMPLES_REPORT, NOT_LEARNED
from signalbox.workflow.matching.gateway_vectors import PURPOSE, GatewayVectors, identity_of

_BUILDER = "signalbox-examples/1"
_SUBJECT = "build"
"""Who embeds examples, in the ledger: publishing does, not the user who published."""
_WORKER = "signalbox.workflow.examples.worker"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Training takes one core, and sums in one order: the same examples give the same bytes."""


class ExampleBuilder:
    """Trains classifiers, one at a time; a training that takes longer than ``timeout_s`` seconds is given up.

    With vectors of sentences there are two: one by words alone, for who serves without them. They come from the model
    in the workflow's role ``embed``, else from ``encoder`` (a file).
    """

    def __init__(self, timeout_s: float, vectors: GatewayVectors, encoder: Path | None = None) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

    async def build(self, request: BuildRequest) -> BuildReply:
        """The classifier and its report; nothing for a document without examples."""
        config = await asyncio.to_thread(load_snapshot, request.document.encode())
        intents = lessons(config)
        if not intents:
            return BuildReply()
        if len(intents) == 1:
            only = next(index for index, intent in enumerate(config.intents) if intent.id == intents[0]["id"])
            detail = (
                "Examples are learned from when at least two intents have some; until then a model sees them."
            )
            pointer = f"/intents/{only}/when/examples"
            return BuildReply(warnings=[ProblemError(pointer=pointer, code="examples_unused", detail=detail)])
        warnings: list[ProblemError] = []
        vectors = None
        if config.llm.embed is not None:
            try:
                vectors = await self._encoded(request, config.llm.embed.model, config.workflow_id, intents)
            except SignalboxError as error:
                detail = (
                    f"Examples are compared by words alone until this is published again: the model "
                    f"'{config.llm.embed.model}' gave no vectors ({error.problem().code}: {error.detail})"
                )
                warnings.append(ProblemError(pointer="/llm/embed", code="not_embedded", detail=detail))
        async with self._turn:
            encoder = None if self._encoder is None or config.llm.embed is not None else str(self._encoder)
            given = json.dumps({"intents": intents, "encoder": encoder, "vectors": vectors}).encode()
            output = await run_apart((sys.executable, "-m", _WORKER), given, self._timeout_s, _ONE_THREAD)
        if output is None:
            detail = f"No classifier was trained from the examples within {self._timeout_s:g} s; see Workflow's log."
            return BuildReply(errors=[ProblemError(pointer="/intents", code=NOT_LEARNED, detail=detail)])
        return _reply(output).model_copy(update={"warnings": warnings})

    async def _encoded(
        self, request: BuildRequest, model: str, workflow_id: str, intents: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """The vectors of all texts, as the process that trains reads them.

        Raises:
            SignalboxError: the gateway or the provider failed.
        """
        texts = to_encode((intent["id"], intent["examples"], intent["description"]) for intent in intents)
        principal = Principal(tenant=request.tenant, subject=_SUBJECT, scopes=frozenset({Scope.LLM}))
        labels = CallLabels(f"build/{new_id('build')}", workflow_id=workflow_id, purpose=PURPOSE)
        made = await self._vectors.encode(model, texts, principal, labels)
        numbers = b"".join(row.tobytes() for row in made.rows)
        return {
            "identity": identity_of(model),
            "texts": texts,
            "vectors": base64.b64encode(numbers).decode(),
        }


def _reply(output: bytes) -> BuildReply:
    heads, _, rest = output.partition(b"\n")
    artefacts = []
    report = {}
    for head in json.loads(heads):
        size, name = head["bytes"], head["name"]
        artefacts.append(_artefact(name, "application/octet-stream", rest[:size]))
        report[name] = head["report"]
        rest = rest[size:]
    kept = json.dumps(report, ensure_ascii=False).encode()
    return BuildReply(
        artefacts=[*artefacts, _artefact(EXAMPLES_REPORT, "application/json", kept)], report=report
    )


def lessons(config: WorkflowConfig) -> list[dict[str, Any]]:
    """What there is to learn: the intents that have examples, their texts normalised as messages will be."""
    learned = []
    for intent in config.intents:
        examples = [text for text in map(normalise, intent.when.examples) if text]
        if examples:
            description = normalise(intent.description)
            learned.append({"id": intent.id, "examples": examples, "description": description})
    return learned


def _artefact(name: str, media_type: str, data: bytes) -> Artefact:
    return Artefact(
        name=name,
        builder=_BUILDER,
        platform=platform.machine().lower(),
        media_type=media_type,
        sha256=hashlib.sha256(data).hexdigest(),
        data_base64=base64.b64encode(data).decode(),
    )
