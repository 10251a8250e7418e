"""Tokens of calls between services."""

import time

import jwt
import pytest

from signalbox.common.auth import SYSTEM_TENANT, ServiceTokens, hs256
from signalbox.common.auth import tokens as tokens_module
from signalbox.common.errors import Unauthenticated
from signalbox.contracts.identity import Principal, Scope

SECRET = "0123456789abcdef0123456789abcdef"
CLAIMS = {"aud": "flows", "sub": "x", "ten": "acme", "scp": [], "wfs": None, "iat": 1, "exp": 9_999_999_999}
ALICE = Principal(
    tenant="acme", subject="key:alice", scopes=frozenset({Scope.QUERY}), workflows=frozenset({"shop"})
)


@pytest.fixture
def workflow():
    return ServiceTokens(SECRET, "workflow")


@pytest.fixture
def flows():
    return ServiceTokens(SECRET, "flows")


def crafted(secret=SECRET, **changes):
    """A token as a service would sign it, with claims changed; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        "iss": "workflow",
        "aud": "flows",
        "sub": "key:alice",
        "ten": "acme",
        "scp": ["query", "service"],
        "wfs": None,
        "iat": now,
        "exp": now + 60,
    }
    kept = {
        name: value for name, value in {**claims, **changes}.items() if name == "wfs" or value is not None
    }
    return jwt.encode(kept, secret, algorithm="HS256")


def test_a_token_carries_the_principal_and_the_service_scope(workflow, flows):
    seen = flows.verify(workflow.mint("flows", ALICE), "flows")
    assert (seen.tenant, seen.subject, seen.workflows) == ("acme", "key:alice", frozenset({"shop"}))
    assert seen.scopes == {Scope.QUERY, Scope.SERVICE}


def test_a_call_for_nobody_is_the_services_own_in_a_tenant_of_no_customer(workflow, flows):
    seen = flows.verify(workflow.mint("flows"), "flows")
    assert (seen.tenant, seen.subject) == (SYSTEM_TENANT, "service:workflow")
    assert seen.scopes == {Scope.SERVICE}


def test_a_token_opens_the_service_that_it_was_made_for_and_no_other(workflow):
    token = workflow.mint("flows", ALICE)
    with pytest.raises(Unauthenticated):
        ServiceTokens(SECRET, "tools").verify(token, "tools")


def test_a_remembered_token_is_still_only_for_its_audience(workflow, flows):
    token = workflow.mint("flows", ALICE)
    flows.verify(token, "flows")
    with pytest.raises(Unauthenticated):
        flows.verify(token, "tools")


def test_a_token_of_another_installation_is_refused(flows):
    with pytest.raises(Unauthenticated, match="SIGNALBOX_SERVICE_SECRET"):
        flows.verify(crafted(secret="another-secret-another-secret-12"), "flows")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_that_was_changed_is_refused(flows, part):
    parts = crafted().split(".")
    other = crafted(ten="rival").split(".")
    parts[part] = other[part] if part != 0 else jwt.encode({}, None, algorithm="none").split(".")[0]
    with pytest.raises(Unauthenticated):
        flows.verify(".".join(parts), "flows")


def test_an_unsigned_token_is_refused(flows):
    claims = {"aud": "flows", "sub": "x", "ten": "acme", "scp": [], "wfs": None, "exp": time.time() + 60}
    with pytest.raises(Unauthenticated):
        flows.verify(jwt.encode(claims, None, algorithm="none"), "flows")


@pytest.mark.parametrize("missing", ["exp", "aud", "sub"])
def test_a_token_without_an_end_an_audience_or_a_subject_is_refused(flows, missing):
    with pytest.raises(Unauthenticated):
        flows.verify(crafted(**{missing: None}), "flows")


@pytest.mark.parametrize("junk", ["", "x", "a.b.c", "eyJhbGciOiJIUzI1NiJ9..", "ü.ü.ü"])
def test_what_is_no_token_is_refused(flows, junk):
    with pytest.raises(Unauthenticated):
        flows.verify(junk, "flows")


def test_an_expired_token_is_refused_also_when_it_was_verified_before(flows, monkeypatch):
    token = crafted()
    flows.verify(token, "flows")
    with pytest.raises(Unauthenticated):
        flows.verify(crafted(exp=int(time.time()) - 30), "flows")
    later = time.time() + 66
    monkeypatch.setattr(tokens_module.time, "time", lambda: later)
    assert ("flows", token) in flows._verified
    with pytest.raises(Unauthenticated, match="expired"):
        flows.verify(token, "flows")


def test_a_clock_that_is_set_back_makes_a_new_token_where_the_old_one_is_of_the_future(
    workflow, flows, monkeypatch
):
    now = time.time()
    workflow.mint("flows", ALICE)
    monkeypatch.setattr(tokens_module.time, "time", lambda: now - 3600)
    assert flows.verify(workflow.mint("flows", ALICE), "flows").subject == ALICE.subject


def test_another_library_reads_and_verifies_what_is_minted(workflow):
    claims = jwt.decode(workflow.mint("flows", ALICE), SECRET, algorithms=["HS256"], audience="flows")
    assert (claims["sub"], claims["ten"], claims["wfs"]) == ("key:alice", "acme", ["shop"])


@pytest.mark.parametrize("header", [{"alg": "HS512"}, {"alg": "none"}, {}, {"alg": "HS256", "crit": ["exp"]}])
def test_a_token_signed_in_another_way_with_the_right_secret_is_refused(flows, header):
    signed = f"{hs256._segment(header)}.{hs256._segment(CLAIMS)}"
    with pytest.raises(Unauthenticated, match="not signed with HS256"):
        flows.verify(f"{signed}.{hs256._signature(signed, SECRET)}", "flows")


@pytest.mark.parametrize("content", ["no JSON", '["a", "list"]'])
def test_a_signed_text_that_holds_no_claims_is_refused(flows, content):
    signed = f"{hs256._segment({'alg': 'HS256'})}.{hs256._text(content.encode())}"
    with pytest.raises(Unauthenticated, match="JSON"):
        flows.verify(f"{signed}.{hs256._signature(signed, SECRET)}", "flows")


@pytest.mark.parametrize("end", [float("nan"), True, "9999999999"])
def test_an_end_that_is_no_time_is_refused(flows, end):
    assert flows.verify(hs256.sign(CLAIMS, SECRET), "flows").subject == "x"
    with pytest.raises(Unauthenticated, match="expired"):
        flows.verify(hs256.sign({**CLAIMS, "exp": end}, SECRET), "flows")


def test_clocks_may_be_a_few_seconds_apart(flows):
    now = int(time.time())
    assert flows.verify(crafted(iat=now + 3, exp=now + 120), "flows").tenant == "acme"
    with pytest.raises(Unauthenticated):
        flows.verify(crafted(iat=now + 60, exp=now + 180), "flows")


def test_scopes_of_a_newer_caller_open_nothing_and_break_nothing(flows):
    seen = flows.verify(crafted(scp=["query", "service", "invented:later"]), "flows")
    assert seen.scopes == {Scope.QUERY, Scope.SERVICE}


def test_a_token_is_reused_until_near_its_end(workflow, monkeypatch):
    clock = [time.time()]
    monkeypatch.setattr(tokens_module.time, "time", lambda: clock[0])
    first = workflow.mint("flows", ALICE)
    assert workflow.mint("flows", ALICE.model_copy()) == first
    clock[0] += 89
    assert workflow.mint("flows", ALICE) == first
    clock[0] += 2
    second = workflow.mint("flows", ALICE)
    assert second != first
    ends = [jwt.decode(token, options={"verify_signature": False})["exp"] for token in (first, second)]
    assert 90 <= ends[1] - ends[0] <= 92


def test_tokens_of_different_principals_and_audiences_are_different(workflow):
    bob = ALICE.model_copy(update={"subject": "key:bob"})
    rival = ALICE.model_copy(update={"tenant": "rival"})
    minted = {workflow.mint(audience, who) for audience in ("flows", "tools") for who in (ALICE, bob, rival)}
    assert len(minted) == 6


def test_memory_is_bounded(workflow, flows, monkeypatch):
    monkeypatch.setattr(tokens_module, "_REMEMBERED", 20)
    for number in range(100):
        who = ALICE.model_copy(update={"subject": f"key:{number}"})
        flows.verify(workflow.mint("flows", who), "flows")
    assert len(workflow._minted) == 20
    assert len(flows._verified) == 20
