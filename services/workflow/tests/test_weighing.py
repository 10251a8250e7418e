"""What a snapshot takes in memory is told from what was built of it, without loading that."""

import base64
import hashlib

import pytest

from signalbox.common.documents import config_hash
from signalbox.common.rules import FEW_RULES
from signalbox.common.rules.hyperscan_engine import HyperscanEngine
from signalbox.common.rules.stored import StoredRules
from signalbox.common.snapshots.store import weight_of_document
from signalbox.contracts.admin import Artefact, SnapshotDocument
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.example_build import lessons
from signalbox.workflow.examples.training import IntentExamples, train
from signalbox.workflow.matching.example_matcher import EXAMPLES_ARTEFACT
from signalbox.workflow.matching.rule_matcher import rules_of
from signalbox.workflow.snapshot import RULES_ARTEFACT
from signalbox.workflow.weighing import weigh

WORDS = ("apple", "bread", "candle", "door", "engine", "feather")


def document_of(intents: int) -> dict[str, object]:
    return {
        "schema_version": "1",
        "workflow_id": "heavy",
        "name": "Heavy",
        "intents": [
            {
                "id": f"i{number}",
                "when": {
                    "patterns": [rf"\b{word}{number}\b"],
                    "examples": [f"give me {word} number {part}" for part in range(5)],
                },
                "then": {"reply": "Yes."},
            }
            for number in range(intents)
            for word in [WORDS[number % len(WORDS)]]
        ],
    }


def stored(document: dict[str, object], *artefacts: Artefact) -> SnapshotDocument:
    digest, canonical = config_hash(document)
    return SnapshotDocument(
        config_hash=digest, tenant="acme", document=canonical.decode(), artefacts=list(artefacts)
    )


def artefact(name: str, data: bytes) -> Artefact:
    return Artefact(
        name=name,
        builder="it",
        platform="here",
        media_type="application/octet-stream",
        sha256=hashlib.sha256(data).hexdigest(),
        data_base64=base64.b64encode(data).decode(),
    )


def test_the_database_of_rules_counts_as_large_as_it_is_in_use() -> None:
    document = document_of(FEW_RULES + 20)
    config = WorkflowConfig.model_validate(document)
    data = HyperscanEngine().compile(rules_of(config.intents)).serialise()
    size = StoredRules.from_bytes(data).size
    assert size > len(data) / 2
    weight = weigh(stored(document, artefact(RULES_ARTEFACT, data)))
    assert weight - weigh(stored(document)) == pytest.approx(size + len(data), rel=0.001)


def test_the_classifier_counts_all_its_numbers() -> None:
    document = document_of(6)
    config = WorkflowConfig.model_validate(document)
    taught = [
        IntentExamples(entry["id"], tuple(entry["examples"]), entry["description"])
        for entry in lessons(config)
    ]
    data = train(taught, None).classifier.serialise()
    weight = weigh(stored(document, artefact(EXAMPLES_ARTEFACT, data))) - weigh(stored(document))
    assert weight > len(data)


@pytest.mark.parametrize("name", [RULES_ARTEFACT, EXAMPLES_ARTEFACT, "other"])
@pytest.mark.parametrize(
    "data", [b"", b"{}\n", b"x" * 300, b"SBEXMPL1\xff\xff\xff\xff{}", b'{"size": "a"}\nx']
)
def test_what_cannot_be_read_counts_as_it_is_kept(name: str, data: bytes) -> None:
    document = document_of(1)
    weight = weigh(stored(document, artefact(name, data))) - weight_of_document(stored(document))
    assert len(data) <= weight <= len(data) + 3
