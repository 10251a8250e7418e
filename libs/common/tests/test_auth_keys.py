"""API keys."""

import re

import pytest
from pydantic import ValidationError

from signalbox.common.auth import KeyRing, create_key, hash_secret
from signalbox.common.errors import Unauthenticated
from signalbox.common.ids import now_ms
from signalbox.contracts.identity import KeyRecord, Principal, Scope


def record(key, **changes):
    fields = {
        "key_id": key.key_id,
        "tenant": "acme",
        "name": "till",
        "secret_sha256": key.secret_sha256,
        "scopes": {Scope.QUERY},
        "created_at": now_ms(),
    }
    return KeyRecord(**{**fields, **changes})


@pytest.fixture
def key():
    return create_key()


def refusal(ring, presented):
    with pytest.raises(Unauthenticated) as refused:
        ring.verify(presented)
    return refused.value


def test_a_new_key_has_its_shape_and_only_its_hash_is_kept(key):
    assert re.fullmatch(r"sbx_[0-9a-f]{16}_[0-9a-f]{64}", key.key)
    secret = key.key.rpartition("_")[2]
    assert key.secret_sha256 == hash_secret(secret)
    assert secret not in str(record(key))
    assert create_key().key != key.key


def test_a_good_key_is_its_principal(key):
    principal = KeyRing([record(key, workflows={"shop"})]).verify(key.key)
    assert principal.tenant == "acme"
    assert principal.subject == f"key:{key.key_id}"
    assert principal.scopes == {Scope.QUERY}
    assert principal.may_use("shop")
    assert not principal.may_use("other")


def test_all_refusals_look_the_same(key):
    other = create_key()
    now = now_ms()
    ring = KeyRing([record(key)])
    sentences = {
        refusal(ring, other.key).detail,
        refusal(ring, key.key[:-1] + ("0" if key.key[-1] != "0" else "1")).detail,
        refusal(KeyRing([record(key, revoked_at=now)]), key.key).detail,
        refusal(KeyRing([record(key, expires_at=now - 1)]), key.key).detail,
    }
    assert len(sentences) == 1
    assert refusal(ring, other.key).headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize(
    "junk", ["", "sbx_", "sbx__", "sbx_abc", "sbx_abc_", "Bearer x", "sbx_\u00e9_\u4e2d\u6587", "_" * 500]
)
def test_what_is_no_key_is_refused(key, junk):
    assert refusal(KeyRing([record(key)]), junk).status == 401


def test_an_unknown_key_does_not_match_the_placeholder_hash():
    # The secret whose hash is compared with when there is no record must not open anything.
    assert refusal(KeyRing(), f"sbx_none_{'0' * 64}").status == 401


def test_a_key_works_until_the_millisecond_that_it_expires(key, monkeypatch):
    from signalbox.common.auth import keys as keys_module

    ring = KeyRing([record(key, expires_at=5_000)])
    monkeypatch.setattr(keys_module, "now_ms", lambda: 4_999)
    assert ring.verify(key.key).tenant == "acme"
    monkeypatch.setattr(keys_module, "now_ms", lambda: 5_000)
    assert refusal(ring, key.key).status == 401


def test_replacing_forgets_the_keys_before(key):
    ring = KeyRing([record(key)])
    ring.replace([record(create_key())])
    assert len(ring) == 1
    assert refusal(ring, key.key).status == 401


def test_no_key_opens_the_calls_between_services(key):
    principal = KeyRing([record(key, scopes={Scope.QUERY, Scope.SERVICE})]).verify(key.key)
    assert principal.scopes == {Scope.QUERY}


def test_the_keys_of_each_source_are_replaced_apart(key):
    other = create_key()
    ring = KeyRing([record(key)])
    ring.replace([record(other, models={"small"})], source="file")
    assert ring.verify(key.key).models is None
    assert ring.verify(other.key).models == {"small"}
    ring.replace([])
    refusal(ring, key.key)
    assert ring.verify(other.key).may_call("small")
    ring.replace([], source="file")
    refusal(ring, other.key)
    assert len(ring) == 0


def test_keys_of_other_releases_are_read_with_what_this_one_knows_and_no_more():
    stored = {
        "key_id": "k", "tenant": "acme", "name": "operator", "secret_sha256": "0" * 64, "created_at": 1,
        "scopes": [scope for scope in Scope if scope not in (Scope.SERVICE, Scope.TOOLS)],
    }  # fmt: skip
    old = KeyRecord.model_validate(stored)
    assert not old.principal().may(Scope.TOOLS), "a scope that came later is given, not inherited"
    assert old.principal().may(Scope.KEYS_WRITE)
    newer = KeyRecord.model_validate({**stored, "scopes": ["query", "of:the-next-release"]})
    assert newer.principal().scopes == {Scope.QUERY}
    caller = Principal.model_validate(
        {"tenant": "acme", "subject": "key:k", "scopes": ["llm", "of:the-next-release"]}
    )
    assert caller.scopes == {Scope.LLM}
    for wrong in ("query", 7, [7], None):
        with pytest.raises(ValidationError):
            KeyRecord.model_validate({**stored, "scopes": wrong})
