"""Sixteen ways in which a provider fails, each streamed through the gateway with one fallback model.

The faults and what counts as a good end are those of the public suite failoverbench (scenarios S01 to S16); its times
are scaled down where they are long.
"""

import itertools
import threading
import time

import openai
import pytest
from support.gateway_app import deployment, wait_for

WORDS = [f"word{number}" for number in range(60)]
ANSWER = " ".join(WORDS)
ASK = [{"role": "user", "content": "sixty words, please"}]
PRIMARY, FALLBACK = "fb-primary", "fb-ok"
FAST = {"retry_backoff_s": 0.1, "breaker": {"open_s": 0.5}}
HEALTHY = {"match": {"model": FALLBACK}, "reply": ANSWER, "chunks": 60}


@pytest.fixture
def start(start_gateway, provider):
    """A gateway with a primary and a fallback; ``prefill`` says whether the fallback goes on from a beginning."""

    def started(*, prefill=True, **route):
        def at(model, **fields):
            return deployment(
                provider,
                model,
                upstream_model=None,
                first_token_timeout_s=0.5,
                stall_timeout_s=0.5,
                timeout_s=1.5,
                **fields,
            )

        return start_gateway(
            llm_deployments=[at(PRIMARY), at(FALLBACK, prefill=prefill)],
            llm_models=[{"name": PRIMARY, "fallbacks": [FALLBACK], **FAST, **route}],
        )

    return started


class Seen:
    """What a client got of a stream: text, model, usage, and the error that ended it, if one did."""

    def __init__(self, gateway, **fields):
        self.text, self.models, self.roles, self.ids, self.usage, self.error = "", set(), 0, set(), None, None
        started = time.monotonic()
        try:
            for chunk in gateway.client(timeout=20).chat.completions.create(
                model=PRIMARY,
                messages=ASK,
                stream=True,
                stream_options={"include_usage": True},
                **fields,
            ):
                self.models.add(chunk.model)
                self.ids.add(chunk.id)
                self.usage = chunk.usage or self.usage
                for choice in chunk.choices:
                    self.text += choice.delta.content or ""
                    self.roles += choice.delta.role is not None
        except openai.APIError as error:
            self.error = error
        self.took_s = time.monotonic() - started

    @property
    def whole(self):
        return self.error is None and self.text == ANSWER and self.usage is not None

    @property
    def model(self):
        (model,) = self.models
        return model


def attempts(provider, model=PRIMARY):
    return [record for record in provider.requests() if record.model == model]


def check_alive(gateway):
    answer = gateway.client(timeout=5).chat.completions.create(model=FALLBACK, messages=ASK)
    assert answer.choices[0].message.content == ANSWER


def script(provider, fault, **rule):
    """The primary has a fault, then (with ``times``) answers; the fallback answers."""
    text = {"reply": ANSWER, "chunks": 60}
    provider.script([{"match": {"model": PRIMARY}, "fault": fault, **text, **rule}, HEALTHY, text])


def prefilled(rest):
    """The fallback goes on from the beginning of an answer."""
    return {"match": {"model": FALLBACK, "last_role": "assistant"}, "reply": rest, "chunks": 20}


def test_s01_a_short_retry_after_is_waited_for(start, provider):
    script(provider, {"status": 429, "headers": {"Retry-After": "2"}}, times=1)
    gateway = start()
    seen = Seen(gateway)
    assert seen.whole
    assert seen.model == PRIMARY
    first, second = attempts(provider)
    assert second.started_at - first.started_at >= 1.8
    check_alive(gateway)


def test_s02_a_provider_that_is_too_busy_is_not_hammered(start, provider):
    script(provider, {"status": 429})
    gateway = start()
    assert Seen(gateway).whole
    times = [record.started_at for record in attempts(provider)]
    assert len(times) == 3
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(times))
    check_alive(gateway)


def test_s03_one_failure_is_tried_again_at_the_same_provider(start, provider):
    script(provider, {"status": 500}, times=1)
    seen = Seen(start())
    assert (seen.whole, seen.model, len(attempts(provider))) == (True, PRIMARY, 2)


def test_s04_and_s16_a_provider_that_stays_away_is_replaced_and_the_answer_says_by_which(start, provider):
    script(provider, {"status": 503, "code": "overloaded"})
    gateway = start()
    seen = Seen(gateway)
    assert (seen.whole, seen.model) == (True, FALLBACK)
    assert seen.usage.completion_tokens > 0
    assert len(attempts(provider)) == 3
    (row,) = gateway.wait_for_rows(1)
    assert (row["model_asked"], row["deployment"]) == (PRIMARY, "openai-compatible/fb-ok")
    rows = gateway.rows("ledger_attempts")
    assert [(one["status"], one["output_tokens"], one["cost_pico"]) for one in rows[:3]] == [(503, 0, 0)] * 3
    assert row["cost_pico"] == rows[3]["cost_pico"] > 0


def test_s05_a_connection_that_is_reset_before_the_answer_is_tried_again(start, provider):
    script(provider, {"kind": "cut", "reset": True}, times=1)
    seen = Seen(start())
    assert (seen.whole, seen.model, len(attempts(provider))) == (True, PRIMARY, 2)


def test_s06_a_silent_provider_is_asked_once(start, provider):
    script(provider, "hang")
    gateway = start()
    seen = Seen(gateway)
    assert (seen.whole, len(attempts(provider))) == (True, 1)
    assert seen.took_s < 2
    assert attempts(provider)[0].disconnected
    check_alive(gateway)


@pytest.mark.parametrize("after_role", [False, True])
def test_s07_a_late_first_token_is_not_waited_for(start, provider, after_role):
    late = {"kind": "stall", "after_chunks": 0} if after_role else {"kind": "slow_first_token"}
    script(provider, late)
    seen = Seen(start())
    assert (seen.whole, seen.model, seen.roles) == (True, FALLBACK, 1)
    assert seen.took_s < 2


@pytest.mark.parametrize("cut_at", [40, 42])
def test_s08_a_cut_answer_is_gone_on_with(start, provider, cut_at):
    at = len(ANSWER) * cut_at // 60
    script(provider, {"kind": "cut", "after_chunks": cut_at})
    provider.script(
        [
            {
                "match": {"model": PRIMARY},
                "reply": ANSWER,
                "chunks": 60,
                "fault": {"kind": "cut", "after_chunks": cut_at},
            },
            prefilled(ANSWER[at:]),
            HEALTHY,
        ]
    )
    gateway = start()
    seen = Seen(gateway)
    assert seen.whole
    assert (len(seen.ids), seen.model, seen.roles) == (1, PRIMARY, 1)
    (continued,) = attempts(provider, FALLBACK)
    assert continued.body["messages"] == [*ASK, {"role": "assistant", "content": ANSWER[:at].rstrip()}]
    (row,) = gateway.wait_for_rows(1)
    broken, rest = gateway.rows("ledger_attempts")
    assert (row["outcome"], broken["outcome"], rest["outcome"]) == ("ok", "error", "ok")
    assert row["cost_pico"] == broken["cost_pico"] + rest["cost_pico"]
    assert seen.usage.completion_tokens == broken["output_tokens"] + rest["output_tokens"]
    assert seen.usage.prompt_tokens == broken["input_tokens"] + rest["input_tokens"]


def test_s09_an_answer_that_stalls_is_gone_on_with(start, provider):
    provider.script(
        [
            {
                "match": {"model": PRIMARY},
                "reply": ANSWER,
                "chunks": 60,
                "fault": {"kind": "stall", "after_chunks": 20},
            },
            prefilled(ANSWER[len(ANSWER) * 20 // 60 :]),
            HEALTHY,
        ]
    )
    gateway = start()
    seen = Seen(gateway)
    assert seen.whole
    assert seen.took_s < 3
    assert len(attempts(provider)) == 1
    check_alive(gateway)


def test_s10_an_event_that_is_no_json_is_left_out(start, provider):
    script(provider, {"kind": "malformed_chunk", "after_chunks": 10})
    gateway = start()
    seen = Seen(gateway)
    assert (seen.whole, seen.model, len(attempts(provider))) == (True, PRIMARY, 1)
    check_alive(gateway)


def test_s11_a_stream_without_its_last_event_is_whole(start, provider):
    script(provider, "missing_done")
    seen = Seen(start())
    assert (seen.whole, seen.model) == (True, PRIMARY)
    assert seen.took_s < 2


def test_s12_a_call_that_is_too_long_goes_to_the_larger_model_at_once(start, provider):
    script(provider, "context_length_exceeded")
    seen = Seen(start())
    assert (seen.whole, seen.model, len(attempts(provider))) == (True, FALLBACK, 1)


def test_s13_a_refusal_by_a_content_filter_is_passed_on(start, provider):
    message = "Your request was rejected as a result of our safety system."
    script(provider, {"kind": "content_filter", "code": "content_policy_violation", "message": message})
    gateway = start()
    seen = Seen(gateway)
    assert isinstance(seen.error, openai.BadRequestError)
    assert (seen.error.code, message in seen.error.message) == ("content_policy_violation", True)
    assert (len(attempts(provider)), len(attempts(provider, FALLBACK))) == (1, 0)
    check_alive(gateway)


def test_s14_a_model_that_cannot_go_on_is_not_asked_to(start, provider):
    refused = {
        "match": {"last_role": "assistant"},
        "fault": {"status": 400, "code": "invalid_prefill", "message": "no prefill"},
    }
    cut = {
        "match": {"model": PRIMARY},
        "reply": ANSWER,
        "chunks": 60,
        "fault": {"kind": "cut", "after_chunks": 40},
    }
    provider.script([cut, refused, HEALTHY])
    gateway = start(prefill=False)
    seen = Seen(gateway)
    assert seen.error is not None
    assert seen.error.code == "provider_broke_off"
    assert ANSWER.startswith(seen.text)
    assert attempts(provider, FALLBACK) == []
    provider.reset()
    provider.script([cut, refused, HEALTHY])
    # Declared, but not true: the client hears of the break all the same, not of the refusal.
    seen = Seen(start(prefill=True))
    assert seen.error is not None
    assert seen.error.code == "provider_broke_off"
    assert len(attempts(provider, FALLBACK)) == 1


def test_s15_a_provider_that_flaps_is_probed_and_used_again_soon(start, provider):
    down_s, every_s = 4.0, 0.2
    gateway = start()
    script(provider, {"status": 503, "code": "overloaded"})
    begun = time.time()
    recovered = threading.Timer(down_s, lambda: script(provider, None))
    recovered.start()
    seen = []
    for number in range(int(down_s / every_s) + 10):
        time.sleep(max(0.0, begun + number * every_s - time.time()))
        seen.append(Seen(gateway))
    recovered.join()
    assert all(one.whole for one in seen)
    down = [record for record in attempts(provider) if record.status == 503]
    up = [record for record in attempts(provider) if record.status == 200]
    assert len(down) <= down_s / every_s
    assert up
    assert up[0].started_at - (begun + down_s) <= 2.0
    assert seen[-1].model == PRIMARY
    wait_for(lambda: len(gateway.rows()) == len(seen))
    assert {row["outcome"] for row in gateway.rows()} == {"ok"}
