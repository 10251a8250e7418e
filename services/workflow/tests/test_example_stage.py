"""The stage between rules and the model: built, loaded, asked, and what it leaves to others."""

import base64
import hashlib
import json

import numpy as np
import pytest
from support.admin_stand_in import hash_of
from support.workflow_stage import incoming, model_matcher
from typer.testing import CliRunner

from signalbox.common.cli.commands import build_cli
from signalbox.common.errors import ValidationFailed
from signalbox.common.rules import Re2Engine
from signalbox.contracts.admin import Artefact, BuildRequest, SnapshotDocument
from signalbox.workflow.app import create_app
from signalbox.workflow.builders import Builders
from signalbox.workflow.errors import EncoderMissing
from signalbox.workflow.example_build import ExampleBuilder
from signalbox.workflow.examples.encoder import Encoder, EncoderUnusable
from signalbox.workflow.examples.kernel import NearnessMap
from signalbox.workflow.examples.training import IntentExamples, train
from signalbox.workflow.matching.example_matcher import ExampleMatcher
from signalbox.workflow.matching.gateway_vectors import GatewayVectors
from signalbox.workflow.matching.matcher import Guess, Matcher
from signalbox.workflow.matching.message_vectors import MessageVectors
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.snapshot import SnapshotCompiler

NO_VECTORS = MessageVectors(GatewayVectors(None))
ARRIVAL = ["when will my parcel arrive", "has my package been delivered yet", "the parcel has not arrived"]
REFUND = ["I want my money back", "when do I get the refund", "please refund the purchase"]
ORDERED = ["the delivery of order 12 is late", "how long until order 99 is here"]


def config(**more):
    intents = [
        {
            "id": "arrival",
            "when": {"examples": ARRIVAL + ORDERED},
            "then": {"reply": "Soon."},
            "parameters": {"order": {"type": "integer", "pattern": r"order (\d+)"}},
        },
        {"id": "refund", "when": {"examples": REFUND}, "then": {"reply": "Today."}},
        {"id": "hours", "when": {"keywords": ["open"]}, "then": {"reply": "From 9 to 17."}},
    ]
    return {"schema_version": "1", "workflow_id": "w", "name": "W", "intents": intents, **more}


def request(document):
    text = json.dumps(document, ensure_ascii=False, sort_keys=True)
    return BuildRequest(tenant="acme", config_hash=hash_of(text), document=text)


async def published(document, artefacts=None):
    """The document as Workflow loads it once it was built."""
    wanted = request(document)
    if artefacts is None:
        reply = await ExampleBuilder(60, GatewayVectors(None)).build(wanted)
        assert reply.errors == []
        artefacts = reply.artefacts
    return SnapshotDocument(
        config_hash=wanted.config_hash, tenant="acme", document=wanted.document, artefacts=artefacts
    )


def compiled(document):
    return SnapshotCompiler(Re2Engine(), {})(document)


@pytest.fixture(scope="module")
def matcher():
    return Matcher(model_matcher(), None, NO_VECTORS)


def accepting(at, *, ask=True):
    thresholds = {"accept": at, "clarify": min(at, 0.3)}
    return {"policies": {"thresholds": thresholds, "disambiguation": {"enabled": ask}}}


async def test_what_was_built_decides_and_reads_parameters(matcher):
    snapshot = compiled(await published(config(**accepting(0.4))))
    decided = await matcher.by_example(incoming(snapshot, "When  does ORDER 77 arrive?"))
    assert (decided.stage, decided.intent.id) == ("example", "arrival")
    assert decided.parameters == {"order": 77}
    assert 0.4 <= decided.score <= 1
    assert decided.took_us > 0


async def test_examples_in_simplified_characters_know_traditional_ones(matcher):
    document = config(**accepting(0.4))
    arrival = [*ARRIVAL, "我的包裹什么时候到", "包裹还没有到", "快递到哪里了"]
    refund = [*REFUND, "我要退款", "请把钱退给我", "退款什么时候到账"]
    for entry, examples in zip(document["intents"], (arrival, refund), strict=False):
        entry["when"] = {"examples": examples}
    snapshot = compiled(await published(document))
    simplified, traditional = [
        await matcher.by_example(incoming(snapshot, text))
        for text in ("请问快递到哪里了", "請問快遞到哪裡了")
    ]
    assert simplified.intent.id == traditional.intent.id == "arrival"
    assert simplified.score == traditional.score


async def test_what_is_below_the_threshold_is_left_to_a_model_with_what_is_likely(matcher):
    snapshot = compiled(await published(config(**accepting(1.0))))
    guess = await matcher.by_example(incoming(snapshot, "when will my parcel arrive"))
    assert isinstance(guess, Guess)
    assert guess.likely[0] == "arrival"
    assert guess.candidates[0].intent.id == "arrival"


async def test_what_is_like_no_example_is_nobodys_guess(matcher):
    snapshot = compiled(await published(config()))
    joke = await matcher.by_example(incoming(snapshot, "谁赢得了世界杯"))
    assert isinstance(joke, Guess)
    assert joke.candidates == ()


async def test_without_a_model_the_likelier_than_not_does(matcher, monkeypatch):
    class NoModels:
        async def model_for(self, *_):
            return None

    snapshot = compiled(await published(config(**accepting(1.0, ask=False))))
    alone = Matcher(model_matcher(), NoModels(), NO_VECTORS)
    message = incoming(snapshot, "when will my parcel arrive")
    guess = await alone.by_example(message)
    assert (await alone.by_model(message, guess)).intent.id == "arrival"
    assert (await alone.by_model(message, Guess())).failure == "no_model"


async def test_a_snapshot_without_a_classifier_asks_a_model(matcher):
    assert await matcher.by_example(incoming(compiled(await published(config(), [])), "when")) == Guess()


@pytest.mark.parametrize("damage", ["AAAA", "no base64", base64.b64encode(b"\x80\x04.").decode()])
async def test_a_damaged_artefact_leaves_the_message_to_others_and_is_told(matcher, damage, caplog):
    document = await published(config())
    artefacts = [document.artefacts[0].model_copy(update={"data_base64": damage}), *document.artefacts[1:]]
    snapshot = compiled(await published(config(), artefacts))
    assert await matcher.by_example(incoming(snapshot, "when will my parcel arrive")) == Guess()
    assert "publish it again" in caplog.text


async def test_a_classifier_is_made_when_it_is_needed_or_the_process_is_idle():
    document = await published(config())
    compiler = SnapshotCompiler(Re2Engine(), {})
    early = compiler(document)
    assert early.examples.loaded is False
    compiler.load_late()
    assert early.examples.loaded is True
    assert compiler(document).examples.loaded is True
    asked = compiled(document)
    assert (await asked.examples.rank("when will my parcel arrive")).intents[0] == "arrival"
    assert asked.examples.loaded is True


async def test_the_report_of_a_build_is_kept_with_its_artefacts():
    built = await ExampleBuilder(60, GatewayVectors(None)).build(request(config()))
    names = {artefact.name: artefact for artefact in built.artefacts}
    kept = json.loads(base64.b64decode(names["examples-report"].data_base64))
    assert kept == built.report
    by_words = kept["examples"]
    assert (by_words["intents"], by_words["examples"], by_words["held_out"]) == (2, 8, 8)


async def test_building_twice_gives_the_same_bytes():
    first, again = [await ExampleBuilder(60, GatewayVectors(None)).build(request(config())) for _ in range(2)]
    assert first.artefacts[0].sha256 == again.artefacts[0].sha256


async def test_documents_that_teach_nothing_have_no_classifier():
    nothing = config()
    for intent in nothing["intents"]:
        intent["when"] = {"keywords": [intent["id"]]}
    assert (await ExampleBuilder(60, GatewayVectors(None)).build(request(nothing))).artefacts == []
    nothing["intents"][1]["when"] = {"examples": REFUND}
    built = await ExampleBuilder(60, GatewayVectors(None)).build(request(nothing))
    assert built.artefacts == []
    assert [(entry.code, entry.pointer) for entry in built.warnings] == [
        ("examples_unused", "/intents/1/when/examples")
    ]


async def test_a_training_that_takes_too_long_is_an_error_of_the_build():
    built = await ExampleBuilder(0.001, GatewayVectors(None)).build(request(config()))
    assert [entry.code for entry in built.errors] == ["examples_not_learned"]


async def test_builders_are_one_builder():
    class Fixed:
        def __init__(self, reply):
            self.reply = reply

        async def build(self, _):
            return self.reply

    examples = await ExampleBuilder(60, GatewayVectors(None)).build(request(config()))
    both = await Builders(
        [Fixed(examples), Fixed(examples.model_copy(update={"report": {"rules": 1}}))]
    ).build(None)
    assert len(both.artefacts) == 2 * len(examples.artefacts)
    assert set(both.report) == {"examples", "rules"}


def test_evaluate_prints_the_report(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(json.dumps(config()))
    done = CliRunner().invoke(build_cli(), ["intents", "evaluate", str(file)])
    assert done.exit_code == 0, done.output
    for words in ("8 examples of 2 intents", "accuracy", "out-of-scope recall", "thresholds"):
        assert words in done.output
    done = CliRunner().invoke(build_cli(), ["intents", "evaluate", "--json", str(file)])
    assert json.loads(done.output)["held_out"] == 8


def test_evaluate_says_what_is_missing(tmp_path):
    file = tmp_path / "w.yaml"
    nothing = config()
    nothing["intents"] = nothing["intents"][1:]
    file.write_text(json.dumps(nothing))
    done = CliRunner().invoke(build_cli(), ["intents", "evaluate", str(file)])
    assert isinstance(done.exception, ValidationFailed)
    assert "two intents" in done.exception.detail


class ByFirstLetters:
    """Stands in for an encoder: a sentence is how often words begin with each letter."""

    identity = "letters"
    width = 26

    def encode(self, texts):
        counts = np.array(
            [
                [sum(word[:1] == chr(97 + n) for word in text.lower().split()) for n in range(26)]
                for text in texts
            ],
            dtype=np.float32,
        )
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)

    def load(self):
        return self


def encoded(encoder):
    lessons = [IntentExamples("arrival", tuple(ARRIVAL)), IntentExamples("refund", tuple(REFUND))]
    data = train(lessons, encoder).classifier.serialise()
    return Artefact(
        name="examples-encoded",
        builder="test",
        platform="any",
        media_type="application/octet-stream",
        sha256=hashlib.sha256(data).hexdigest(),
        data_base64=base64.b64encode(data).decode(),
    )


async def test_with_the_encoder_that_it_was_trained_with_a_classifier_compares_by_meaning_too():
    by_words = (await published(config())).artefacts[0]
    matcher = ExampleMatcher(by_words, encoded(ByFirstLetters()), ByFirstLetters())
    alone = ExampleMatcher(by_words)
    message = "wherever will many parcels actually"
    assert (await matcher.rank(message)).intents[0] == "arrival"
    assert (await matcher.rank(message)).score != (await alone.rank(message)).score


@pytest.mark.parametrize("lacking", ["another", "unusable"])
async def test_without_that_encoder_words_decide(lacking, caplog):
    by_words = (await published(config())).artefacts[0]
    encoder = ByFirstLetters()
    artefact = encoded(encoder)
    encoder.identity = "another"
    if lacking == "unusable":
        encoder.load = lambda: None
    matcher = ExampleMatcher(by_words, artefact, encoder)
    assert await matcher.rank(ARRIVAL[0]) == await ExampleMatcher(by_words).rank(ARRIVAL[0])
    assert ("publish it again" in caplog.text) == (lacking == "another")


def test_a_vector_of_zeros_has_no_features():
    nearness = NearnessMap(8, 12)
    vectors = np.stack([np.zeros(8), np.eye(8)[0], np.eye(8)[0]]).astype(np.float32)
    features = nearness(vectors)
    assert features.shape == (3, nearness.width) == (3, 24)
    assert not features[0].any()
    assert features[1] @ features[2] == pytest.approx(12.0, rel=1e-4)
    assert np.array_equal(NearnessMap(8, 12)(vectors), features)


def test_a_file_that_is_no_encoder_is_refused(tmp_path):
    file = tmp_path / "encoder.onnx"
    with pytest.raises(EncoderUnusable, match="cannot be read"):
        Encoder(file)
    file.write_bytes(b"\x80\x04.")
    with pytest.raises(EncoderUnusable, match="is no encoder"):
        Encoder(file)


def test_an_encoder_that_is_not_there_stops_the_start(tmp_path):
    settings = WorkflowSettings(data=tmp_path, encoder_file=tmp_path / "none.onnx")
    with pytest.raises(EncoderMissing):
        create_app(settings)


async def test_an_intent_that_needs_more_than_patterns_find_is_left_to_a_model(matcher):
    needs = config(**accepting(0.1))
    needs["intents"][0]["parameters"]["order"]["required"] = True
    snapshot = compiled(await published(needs))
    assert (await matcher.by_example(incoming(snapshot, "when will order 7 arrive"))).parameters == {
        "order": 7
    }
    guess = await matcher.by_example(incoming(snapshot, "when will my parcel arrive"))
    assert (guess.likely[0], guess.complete) == ("arrival", False)
