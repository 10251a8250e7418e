import random

import pytest

from signalbox.common.context import Deadline
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import (
    AllCoolingDown,
    BudgetExceeded,
    LimitExceeded,
    ModelNotAsked,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    UpstreamCredentialRefused,
)
from signalbox.llm_gateway.routing import Course, Group, ModelRoute, Plan
from signalbox.llm_gateway.routing.failures import failure_of
from signalbox.llm_gateway.routing.health import Health
from signalbox.llm_gateway.routing.plan import Candidate
from signalbox.llm_gateway.routing.rules import BreakerRule


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Walk:
    """A course through groups ``{"model": ["deployment", ...]}``, the first one asked for."""

    def __init__(self, groups, *, deadline=None, larger=(), filtered=(), breaker=None, fields=None, **rule):
        self.clock = Clock()
        fields = fields or {}
        made = {
            model: Group(
                model,
                ModelRoute(name=model, **rule),
                tuple(
                    Candidate(
                        Deployment(model=model, id=name, base_url="http://x/v1", **fields.get(name, {})),
                        Health(name, breaker or BreakerRule(), self.clock),
                    )
                    for name in names
                ),
            )
            for model, names in groups.items()
        }
        first, *others = made.values()
        chains = {model: group for model, group in made.items() if model in {*larger, *filtered}}
        self.plan = Plan(
            first.model,
            first,
            fallbacks=tuple(group for group in others if group.model not in chains),
            larger=tuple(chains[model] for model in larger),
            filtered=tuple(chains[model] for model in filtered),
        )
        self.deadline = deadline
        self.course = self.another()

    def another(self):
        """Another call's course through the same plan."""
        return Course(self.plan, random.Random(1), self.clock, streamed=False, deadline=self.deadline)

    def health(self, name):
        groups = (self.plan.group, *self.plan.fallbacks)
        return next(one.health for group in groups for one in group.candidates if one.deployment.name == name)

    def fail(self, error, course=None):
        """The next turn, which fails; gives the deployment and the wait."""
        course = course or self.course
        turn = course.next()
        self.clock.now += turn.wait_s
        use = turn.candidate.health.begin()
        use.failed(failure_of(error), "x")
        course.failed(turn, error)
        return turn.candidate.deployment.name, turn.wait_s

    def names(self, error, course=None):
        """Who is asked until there is nobody left, when everybody fails alike; and what is raised."""
        asked = []
        while True:
            try:
                asked.append(self.fail(error, course)[0])
            except Exception as raised:  # noqa: BLE001 - any
                return asked, raised


def refused(status, code=None, headers=None, message="no"):
    return ProviderRefused(status, message, provider_code=code, headers=headers)


DOWN = refused(503)
SLOW = ProviderTimeout("late")
TOO_LONG = refused(400, "context_length_exceeded")
FILTERED = refused(400, "content_filter")


def test_the_same_deployment_is_asked_again_with_growing_waits_then_the_fallbacks():
    walk = Walk({"a": ["a1"], "b": ["b1"], "c": ["c1"]}, max_attempts=3, retry_backoff_s=1)
    waits = [walk.fail(DOWN) for _ in range(4)]
    assert [name for name, _ in waits] == ["a1", "a1", "a1", "b1"]
    assert [wait for _, wait in waits][::3] == [0, 0]
    assert 0.5 <= waits[1][1] <= 1 <= waits[2][1] <= 2
    asked, raised = walk.names(DOWN)
    assert asked == ["b1", "b1", "c1", "c1", "c1"]
    assert raised is DOWN


def test_deployments_of_a_group_are_asked_before_one_is_asked_again():
    walk = Walk({"a": ["a1", "a2", "a3"]}, max_attempts=4)
    asked, _ = walk.names(DOWN)
    assert set(asked[:3]) == {"a1", "a2", "a3"}
    assert len(asked) == 4


def test_nobody_is_asked_more_than_six_times():
    walk = Walk({"a": ["a1"]}, max_attempts=20, breaker=BreakerRule(consecutive=100, min_calls=100))
    assert walk.names(DOWN)[0] == ["a1"] * 6


def test_a_silent_deployment_is_not_asked_again():
    asked, raised = Walk({"a": ["a1", "a2"], "b": ["b1"]}, max_attempts=9).names(SLOW)
    assert sorted(asked[:2]) == ["a1", "a2"]
    assert asked[2:] == ["b1"]
    assert raised is SLOW


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_not():
    short, long = refused(429, headers={"Retry-After": "2"}), refused(429, headers={"Retry-After": "30"})
    walk = Walk({"a": ["a1"], "b": ["b1"]}, retry_after_max_s=5)
    walk.fail(short)
    name, wait = walk.fail(short)
    assert name == "a1"
    assert 2 <= wait <= 2.2
    walk = Walk({"a": ["a1"], "b": ["b1"]}, retry_after_max_s=5)
    assert [walk.fail(long)[0] for _ in range(2)] == ["a1", "b1"]
    assert walk.health("a1").cooling_s(walk.clock()) == 30


def test_another_deployment_is_asked_at_once_rather_than_waiting():
    walk = Walk({"a": ["a1", "a2"]})
    one = walk.fail(refused(429, headers={"Retry-After": "2"}))
    other = walk.fail(DOWN)
    assert {one, other} == {("a1", 0), ("a2", 0)}


def test_nothing_is_waited_for_beyond_the_deadline():
    walk = Walk({"a": ["a1"]}, deadline=Deadline.after(1), retry_backoff_s=0.1)
    walk.fail(refused(429, headers={"Retry-After": "2"}))
    with pytest.raises(ProviderRefused):
        walk.course.next()
    walk = Walk({"a": ["a1"], "b": ["b1"]}, deadline=Deadline.after(1))
    walk.fail(refused(429, headers={"Retry-After": "2"}))
    assert walk.fail(DOWN)[0] == "b1"


def test_other_calls_leave_a_deployment_alone_that_asked_for_it():
    walk = Walk({"a": ["a1"], "b": ["b1"]})
    walk.fail(refused(429, headers={"Retry-After": "20"}))
    assert walk.fail(DOWN, walk.another())[0] == "b1"
    walk.clock.now += 17
    name, wait = walk.fail(DOWN, walk.another())
    assert (name, wait) == ("a1", pytest.approx(3))


def test_where_all_asked_to_be_left_alone_the_answer_says_until_when():
    walk = Walk({"a": ["a1"]})
    walk.fail(refused(429, headers={"Retry-After": "20"}))
    walk.clock.now += 1
    with pytest.raises(AllCoolingDown) as raised:
        walk.another().next()
    assert (raised.value.headers, raised.value.problem().status) == ({"Retry-After": "19"}, 429)


def test_an_open_circuit_is_passed_over_and_where_all_are_open_one_attempt_is_made():
    walk = Walk(
        {"a": ["a1"], "b": ["b1"]}, breaker=BreakerRule(consecutive=2, open_s=10), retry_backoff_s=0.1
    )
    assert walk.names(DOWN)[0] == ["a1", "a1", "b1", "b1"]
    asked, raised = walk.names(DOWN, walk.another())
    assert (asked, raised) == (["a1"], DOWN)
    walk.clock.now += 11
    assert walk.names(DOWN, walk.another())[0] == ["a1", "b1"]


def test_a_call_that_is_too_long_goes_to_the_larger_models():
    walk = Walk({"a": ["a1"], "b": ["b1"], "big": ["big1"]}, larger=["big"])
    assert walk.names(TOO_LONG) == (["a1", "big1"], TOO_LONG)
    # Without any of its own, to those fallbacks that may be larger.
    fields = {"a1": {"context_window": 8000}, "b1": {"context_window": 8000}}
    walk = Walk({"a": ["a1"], "b": ["b1"], "c": ["c1"]}, fields=fields)
    assert walk.names(TOO_LONG) == (["a1", "c1"], TOO_LONG)


def test_a_call_that_is_too_long_may_go_to_a_larger_deployment_of_the_same_model():
    fields = {"a1": {"context_window": 8000}, "a2": {"context_window": 32000, "weight": 0}}
    walk = Walk({"a": ["a1", "a2"], "b": ["b1"]}, fields=fields)
    assert walk.names(TOO_LONG)[0] == ["a1", "a2", "b1"]


def test_what_a_filter_refused_goes_only_where_that_is_allowed():
    walk = Walk({"a": ["a1", "a2"], "b": ["b1"]})
    assert walk.names(FILTERED)[1] is FILTERED
    assert len(walk.names(FILTERED, walk.another())[0]) == 1
    walk = Walk({"a": ["a1"], "b": ["b1"], "free": ["f1"]}, filtered=["free"])
    assert walk.names(FILTERED) == (["a1", "f1"], FILTERED)


def test_what_is_wrong_with_the_call_is_said_at_once():
    bad = refused(400, message="temperature must be below 2")
    walk = Walk({"a": ["a1", "a2"], "b": ["b1"]})
    walk.fail(DOWN)
    assert walk.names(bad)[1] is bad
    # Of another model it is no answer to the question: the next is asked, and the first failure counts.
    walk = Walk({"a": ["a1"], "b": ["b1"], "c": ["c1"]}, max_attempts=1)
    walk.fail(DOWN)
    asked, raised = walk.names(bad)
    assert (asked, raised) == (["b1", "c1"], DOWN)


def test_the_operators_own_mistakes_are_not_what_the_client_hears_of_if_anything_else_is_known():
    walk = Walk({"a": ["a1", "a2"]}, max_attempts=2)
    walk.fail(UpstreamCredentialRefused(401, "a1", "bad key"))
    walk.fail(SLOW)
    with pytest.raises(ProviderTimeout):
        walk.course.next()


def test_the_operators_mistake_at_the_model_asked_for_is_not_replaced_by_a_fallbacks_failure():
    own = UpstreamCredentialRefused(403, "a1", "no")
    walk = Walk({"a": ["a1"], "b": ["b1"]}, max_attempts=1)
    assert walk.fail(own)[0] == "a1"
    asked, raised = walk.names(DOWN)
    assert (asked, raised) == (["b1"], own)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (DOWN, "503 provider_error: no"),
        (SLOW, "504 provider_timeout: late"),
        (FILTERED, "400 content_filter: no"),
        (TOO_LONG, "400 context_length_exceeded: no"),
        (refused(400, message="temperature"), "400 provider_error: temperature"),
    ],
)
def test_a_fallbacks_failure_is_not_that_of_a_model_whose_circuit_is_open(failure, said):
    breaker = BreakerRule(consecutive=1, open_s=10)
    walk = Walk({"a": ["a1"], "b": ["b1"], "c": ["c1"]}, breaker=breaker, max_attempts=1)
    walk.fail(DOWN)
    walk.clock.now += 3
    asked, raised = walk.names(failure, walk.another())
    assert asked[0] == "b1"
    assert isinstance(raised, ModelNotAsked)
    assert (raised.problem().status, raised.problem().code) == (503, "model_not_asked")
    assert "'a' was not asked, as the circuit of its provider is open" in raised.detail
    assert f"'b': {said}" in raised.detail
    assert raised.headers == {"Retry-After": "7"}


def test_a_fallbacks_failure_is_not_that_of_a_model_whose_provider_asked_to_be_left_alone():
    walk = Walk({"a": ["a1"], "b": ["b1"]}, max_attempts=1)
    walk.fail(refused(429, headers={"Retry-After": "20"}))
    asked, raised = walk.names(refused(429, headers={"Retry-After": "9"}), walk.another())
    assert (asked, type(raised)) == (["b1"], ModelNotAsked)
    assert "its provider asked to be left alone" in raised.detail
    # Whoever may answer first.
    assert raised.headers == {"Retry-After": "9"}


def test_what_is_the_calls_own_is_said_whichever_model_was_about_to_be_asked():
    walk = Walk({"a": ["a1"], "b": ["b1"]}, breaker=BreakerRule(consecutive=1, open_s=10), max_attempts=1)
    walk.fail(DOWN)
    spent = BudgetExceeded("spent")
    assert walk.names(spent, walk.another()) == (["b1"], spent)


def test_a_deployment_over_its_limit_was_not_asked_and_a_spent_budget_ends_the_call():
    walk = Walk({"a": ["a1", "a2", "a3"]}, max_attempts=1)
    full = LimitExceeded("full")
    assert {walk.fail(full)[0] for _ in range(3)} == {"a1", "a2", "a3"}
    with pytest.raises(LimitExceeded):
        walk.course.next()
    walk = Walk({"a": ["a1"], "b": ["b1"]}, max_attempts=1)
    walk.fail(DOWN)
    assert walk.names(BudgetExceeded("spent")) == (["b1"], DOWN)


def test_a_continuation_goes_only_to_deployments_that_declare_it():
    fields = {"b1": {"prefill": True}}
    walk = Walk({"a": ["a1", "a2"], "b": ["b1", "b2"]}, fields=fields, max_attempts=2)
    walk.fail(ProviderUnreachable("cut"))
    walk.course.continue_with_prefill()
    assert set(walk.names(DOWN)[0]) == {"b1"}


def test_another_deployment_is_asked_beside_one_that_takes_long():
    walk = Walk({"a": ["a1", "a2"]}, max_attempts=2)
    turn = walk.course.next()
    beside = walk.course.beside(turn)
    assert {turn.candidate.deployment.name, beside.candidate.deployment.name} == {"a1", "a2"}
    assert walk.course.beside(turn) is None
    walk = Walk({"a": ["a1"]}, max_attempts=2)
    assert walk.course.beside(walk.course.next()).candidate.deployment.name == "a1"
