"""Learning intents from examples: features, training, the artefact, thresholds."""

import numpy as np
import pytest

from signalbox.common.rules import normalise
from signalbox.workflow.examples import softmax
from signalbox.workflow.examples.calibration import calibrate
from signalbox.workflow.examples.classifier import ExampleClassifier
from signalbox.workflow.examples.features import stem, views
from signalbox.workflow.examples.packing import ForeignData, pack, unpack
from signalbox.workflow.examples.report import HeldOut
from signalbox.workflow.examples.sparse import SparseMatrix
from signalbox.workflow.examples.training import IntentExamples, train

TAUGHT = {
    "arrival": [
        "when will my parcel arrive",
        "has my package been delivered yet",
        "the parcel has not arrived",
        "how long until the package is here",
        "my delivery is late",
        "我的包裹什么时候到",
        "包裹还没有到",
        "快递什么时候送来",
    ],
    "refund": [
        "I want my money back",
        "when do I get the refund",
        "please refund the purchase",
        "my refund is missing",
        "how do refunds work",
        "我要退款",
        "退款什么时候到账",
        "把钱退给我",
    ],
    "password": [
        "I forgot my password",
        "how do I reset the password",
        "my password does not work",
        "change the password of my account",
        "cannot sign in with my password",
        "我忘记密码了",
        "怎么重置密码",
        "密码不能用",
    ],
}
INTENTS = [IntentExamples(name, tuple(map(normalise, texts))) for name, texts in TAUGHT.items()]


@pytest.fixture(scope="module")
def trained():
    return train(INTENTS)


@pytest.mark.parametrize(
    ("message", "intent"),
    [
        ("did the parcels arrive?", "arrival"),
        ("Refunding: how?", "refund"),
        ("i've forgotten the PASSWORD", "password"),
        ("包裹到了吗", "arrival"),
        ("我想要退款", "refund"),
        ("忘了密码怎么办", "password"),
        ("ｐａｓｓｗｏｒｄ？", "password"),
    ],
)
def test_a_message_that_was_never_seen_gets_the_intent_of_those_it_is_like(trained, message, intent):
    ranking = trained.classifier.rank(normalise(message))
    assert ranking.intents[0] == intent
    assert 0 <= ranking.score <= 1


def test_a_message_about_something_else_is_out_of_scope_or_unsure(trained):
    for message in ("tell me a joke about cats", "谁赢得了世界杯", "zzz", "!?", ""):
        ranking = trained.classifier.rank(normalise(message))
        assert not ranking.in_scope or ranking.score < ranking.accept, message
    known = trained.classifier.rank("when will my parcel arrive")
    assert known.in_scope
    assert known.score > trained.classifier.rank("tell me a joke about cats").score


def test_the_same_examples_give_the_same_bytes_in_whatever_order():
    shuffled = [IntentExamples(entry.id, entry.examples[::-1]) for entry in INTENTS]
    assert train(INTENTS).classifier.serialise() == train(shuffled).classifier.serialise()


def test_an_artefact_makes_the_same_classifier(trained):
    again = ExampleClassifier.load(trained.classifier.serialise())
    assert again.intents == trained.classifier.intents
    assert again.calibration == trained.classifier.calibration
    for texts in TAUGHT.values():
        for text in texts:
            assert again.rank(text) == trained.classifier.rank(text)


def _damaged():
    good = train(INTENTS[:2]).classifier.serialise()
    facts, arrays = unpack(good)
    yield b""
    yield b"\x80\x04\x95"  # how a pickle begins
    yield good[:-1]
    yield good[:40] + b"\xff" + good[41:]
    yield pack({**facts, "format": 99}, arrays)
    yield pack({**facts, "intents": ["one"]}, arrays)
    yield pack({**facts, "calibration": [1.0]}, arrays)
    yield pack(facts, {**arrays, "weights": arrays["weights"][1:]})
    yield pack(facts, {**arrays, "words_rarity": arrays["words_rarity"][1:]})
    yield pack(facts, {name: array for name, array in arrays.items() if name != "scales"})


@pytest.mark.parametrize("data", list(_damaged()))
def test_other_bytes_are_refused(data):
    with pytest.raises(ForeignData):
        ExampleClassifier.load(data)


def test_numbers_that_unpack_to_more_than_the_header_says_are_refused():
    packed = pack({}, {"a": np.zeros((1024, 1024), dtype=np.float32)})
    with pytest.raises(ForeignData, match="too many"):
        unpack(packed.replace(b"[1024, 1024]", b"[1024, 1000]"))
    with pytest.raises(ForeignData, match="gigabyte"):
        unpack(packed.replace(b"[1024, 1024]", b"[99999,9999]"))


def test_a_classifier_needs_two_intents():
    with pytest.raises(ValueError, match="two intents"):
        train([INTENTS[0], IntentExamples("empty", (" ",))])


def test_intents_with_one_example_are_learned_and_never_held_out():
    trained = train([IntentExamples("a", ("good morning",)), IntentExamples("b", ("where is the station",))])
    assert trained.report.held_out == 0
    assert trained.report.accuracy is None
    assert trained.classifier.rank("the station").intents[0] == "b"


def test_ids_and_descriptions_are_learned_too():
    lessons = [
        IntentExamples("lost_card", ("it is gone",), "The customer cannot find the bank card."),
        IntentExamples("opening_hours", ("until when",), "The customer asks when the shop opens."),
    ]
    classifier = train(lessons).classifier
    assert classifier.rank("I lost my card").intents[0] == "lost_card"
    assert classifier.rank("when does the shop open").intents[0] == "opening_hours"


def test_the_report_names_what_is_mixed_up_and_the_examples_that_hurt():
    wrong = "when will my parcel arrive today"
    planted = [INTENTS[0], IntentExamples("refund", (*INTENTS[1].examples, wrong)), INTENTS[2]]
    report = train(planted).report
    assert ("refund", wrong, "arrival") in {(e.intent, e.example, e.taken_for) for e in report.hurting}
    assert ("refund", "arrival") in {(entry.intent, entry.taken_for) for entry in report.confusions}
    assert report.held_out == report.examples == 25
    assert report.in_scope_kept >= 0.95


def test_calibrated_scores_are_probabilities_and_the_threshold_keeps_its_promise():
    generator = np.random.default_rng(1)
    margins = generator.uniform(0, 6, 4000)
    right = generator.uniform(size=4000) < 1 / (1 + np.exp(-(margins - 1.5)))
    held = [
        HeldOut("", "a", "a" if good else "b", float(margin), float(margin))
        for margin, good in zip(margins, right, strict=True)
    ]
    rule = calibrate(held, [])
    scores = np.array([rule.score(entry.margin, entry.familiar) for entry in held])
    for low in (0.3, 0.5, 0.7, 0.9):
        chosen = (scores >= low) & (scores < low + 0.1)
        assert right[chosen].mean() == pytest.approx(scores[chosen].mean(), abs=0.08)
    assert right[scores >= rule.accept].mean() >= 0.945
    assert np.mean([entry.familiar < rule.reject for entry in held]) == pytest.approx(0.03, abs=0.002)


@pytest.mark.parametrize(
    ("word", "root"),
    [
        ("cards", "card"),
        ("refunding", "refund"),
        ("stopped", "stop"),
        ("countries", "country"),
        ("arrives", "arriv"),
        ("is", "is"),
        ("был", "был"),
        ("密码", "密码"),
        ("falling", "fall"),
    ],
)
def test_common_endings_are_cut(word, root):
    assert stem(word) == root


def test_the_features_of_a_text_are_numbers_in_order_and_do_not_depend_on_the_process():
    words, characters = views("Where is my card? 我的卡")
    for view in (words, characters):
        assert (np.diff(view.hashes.astype(np.int64)) > 0).all()
        assert (view.weights >= 1).all()
    assert [len(view.hashes) for view in views("a")] == [1, 3]
    assert int(views("card")[0].hashes[0]) == int(views("cards")[0].hashes[0]) == 3690236217
    assert len(views("x " * 10_000)[0].hashes) < 10
    assert all(len(view.hashes) < 3000 for view in views("".join(map(chr, range(0x4E00, 0x4E00 + 5000)))))


def test_a_sparse_matrix_multiplies_as_a_dense_one():
    generator = np.random.default_rng(3)
    dense = (generator.normal(size=(40, 30)) * (generator.uniform(size=(40, 30)) < 0.2)).astype(np.float32)
    rows, columns = np.nonzero(dense)
    starts = np.searchsorted(rows, np.arange(41))
    matrix = SparseMatrix(starts, columns, dense[rows, columns], 30)
    right = generator.normal(size=(30, 4)).astype(np.float32)
    left = generator.normal(size=(40, 4)).astype(np.float32)
    np.testing.assert_allclose(matrix.dot(right), dense @ right, atol=1e-5)
    np.testing.assert_allclose(matrix.transposed_dot(left), dense.T @ left, atol=1e-5)
    weights = matrix.transposed_dot(
        softmax.fit(matrix, np.eye(4, dtype=np.float32)[np.arange(40) % 4], 5.0, 200)
    )
    chances = np.exp(dense @ weights)
    chances /= chances.sum(axis=1, keepdims=True)
    gradient = 5.0 * dense.T @ (chances - np.eye(4)[np.arange(40) % 4]) + weights
    assert np.abs(gradient).max() < 0.02, "at the minimum there is no gradient"
