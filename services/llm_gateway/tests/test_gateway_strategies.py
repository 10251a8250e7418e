import random
from collections import Counter

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.routing.health import Health
from signalbox.llm_gateway.routing.pace import Pace, PaceBook
from signalbox.llm_gateway.routing.plan import Candidate
from signalbox.llm_gateway.routing.rules import BreakerRule, HedgeRule
from signalbox.llm_gateway.routing.strategies import STRATEGIES


def candidates(*weights, ranks=None):
    return [
        Candidate(
            Deployment(model="m", id=str(number), base_url="http://x/v1", weight=weight),
            Health(str(number), BreakerRule(), lambda: 100.0),
            0 if ranks is None else ranks[number],
        )
        for number, weight in enumerate(weights)
    ]


def counts(strategy, among, times=4000, *, streamed=False):
    rng = random.Random(7)
    chosen = Counter(STRATEGIES[strategy](among, rng, streamed).deployment.name for _ in range(times))
    return [chosen[candidate.deployment.name] / times for candidate in among]


def test_weights_are_shares():
    shares = counts("weighted", candidates(1, 3, 0))
    assert abs(shares[0] - 0.25) < 0.03
    assert shares[2] == 0
    assert min(counts("weighted", candidates(0, 0))) > 0.4


def test_the_least_busy_one_is_asked_and_chance_decides_among_equals():
    among = candidates(1, 1, 1)
    among[0].health.begin()
    shares = counts("least_busy", among)
    assert shares[0] == 0
    assert min(shares[1:]) > 0.4
    among[1].health.begin()
    assert counts("least_busy", among) == [0, 0, 1]


def test_the_faster_of_two_is_asked_by_the_latency_that_the_caller_feels():
    among = candidates(1, 1, 1)
    for candidate, first, whole in zip(among, (0.1, 0.2, 0.3), (3.0, 2.0, 1.0), strict=True):
        candidate.health.first_token.add(first, 100.0)
        candidate.health.whole.add(whole, 100.0)
    streamed, whole = counts("lowest_latency", among, streamed=True), counts("lowest_latency", among)
    assert (streamed[2], whole[0]) == (0, 0)
    assert abs(streamed[0] - 2 / 3) < 0.03
    assert abs(whole[2] - 2 / 3) < 0.03


def test_one_whose_latency_is_not_known_is_tried():
    among = candidates(1, 1)
    among[0].health.whole.add(0.001, 100.0)
    assert counts("lowest_latency", among) == [0, 1]


def test_the_cheapest_is_asked():
    assert counts("cheapest", candidates(1, 1, 1, ranks=[3, 1, 2])) == [0, 1, 0]
    assert min(counts("cheapest", candidates(1, 1, 1, ranks=[3, 1, 1]))[1:]) > 0.4


def test_a_call_is_unusually_long_after_what_most_answers_take():
    pace = Pace(HedgeRule(min_samples=20, max_share=1))
    for number in range(19):
        pace.add(number)
    assert pace.unusual_s() is None
    pace.add(19)
    assert pace.unusual_s() == 19
    for _ in range(200):
        pace.add(0.5)
    assert pace.unusual_s() == 0.5


def test_a_share_of_the_calls_is_asked_twice_at_most():
    pace = Pace(HedgeRule(max_share=0.1))
    taken = 0
    for _ in range(100):
        pace.unusual_s()
        taken += pace.take()
    assert taken == 10


def test_streams_and_whole_answers_have_their_own_pace():
    book, rule = PaceBook(), HedgeRule()
    assert book.of("m", rule, streamed=True) is book.of("m", rule, streamed=True)
    assert book.of("m", rule, streamed=True) is not book.of("m", rule, streamed=False)
