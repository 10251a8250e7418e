"""Scenario 22: service tokens that are forged, expired or for another service, on every endpoint that there is.

The unit tests hold the verifier to each claim (`libs/common/tests`); the contract suite sends a token for another
service. Here every internal operation of running services, and every public one, gets every kind of bad token, and
the good one, without which refusing all would prove nothing.
"""

import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.public_api import PublicApi
from support.systems import RunningSystem

from security.treasure import MARK, Operation, Treasure, operations, plant
from signalbox.common.auth import hs256
from signalbox.contracts.identity import Scope

AT_ONCE = 6
FULL_ROUNDS = 40


@pytest.fixture(scope="module")
def treasure(system: RunningSystem, admin_client: PublicApi) -> Treasure:
    assert system.local
    return plant(system, admin_client)


def claims(audience: str, **other: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": "workflow",
        "aud": audience,
        "sub": "service:workflow",
        "ten": "acme",
        "scp": sorted(scope.value for scope in Scope),
        "wfs": None,
        "iat": now,
        "exp": now + 60,
    }
    return {name: value for name, value in {**good, **other}.items() if value is not ...}


def segment(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: dict[str, Any], content: Any, secret: str, digest: Any = hashlib.sha256) -> str:
    text = f"{segment(header)}.{segment(content)}"
    return f"{text}.{segment(hmac.digest(secret.encode(), text.encode(), digest))}"


def forged(audience: str, secret: str) -> Iterator[tuple[str, str]]:
    """Tokens that nobody signed with the secret in the one way that counts, by what is wrong with them."""
    good, jwt = claims(audience), {"typ": "JWT"}
    real = hs256.sign(good, secret)
    head, body, signature = real.split(".")
    yield "another secret", hs256.sign(good, "a secret that somebody has guessed wrongly")
    yield "an empty secret", signed({**jwt, "alg": "HS256"}, good, "")
    yield "no algorithm, no signature", f"{segment({**jwt, 'alg': 'none'})}.{segment(good)}."
    yield "no algorithm, the good signature", f"{segment({**jwt, 'alg': 'none'})}.{body}.{signature}"
    yield "algorithm None in capitals", signed({**jwt, "alg": "NONE"}, good, secret)
    yield "another algorithm", signed({**jwt, "alg": "HS512"}, good, secret, hashlib.sha512)
    yield "a public key's algorithm", signed({**jwt, "alg": "RS256"}, good, secret)
    yield "a key of its own", signed({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, good, "\0\0\0")
    yield "a key from a file", signed({"alg": "HS256", "kid": "../../../../dev/null"}, good, "")
    yield "an extension that must be understood", signed({"alg": "HS256", "crit": ["exp"]}, good, secret)
    yield "claims changed after signing", f"{head}.{segment(claims(audience, ten='globex'))}.{signature}"
    yield "no signature", f"{head}.{body}."
    yield "half a signature", f"{head}.{body}.{signature[: len(signature) // 2]}"
    yield "a signature with more behind", f"{real}AAAA"
    yield "no object", signed({**jwt, "alg": "HS256"}, [good], secret)
    yield "no JSON", signed({**jwt, "alg": "HS256"}, b"\xff\xfe", secret)
    yield "deep JSON", signed({**jwt, "alg": "HS256"}, b'{"a":' * 2_000 + b"1" + b"}" * 2_000, secret)
    yield "nothing but dots", ".."
    yield "letters outside of ASCII", f"{head}.{body}.\u00e9\u00e9"


def misused(audience: str, secret: str) -> Iterator[tuple[str, str]]:
    """Tokens that are well signed, and are not for here or not for now, by what is wrong with them."""
    now = int(time.time())
    yield "expired", hs256.sign(claims(audience, iat=now - 600, exp=now - 30), secret)
    yield "expired long ago", hs256.sign(claims(audience, iat=1, exp=2), secret)
    yield "without an end", hs256.sign(claims(audience, exp=...), secret)
    yield "with an end that is none", hs256.sign(claims(audience, exp="9999999999"), secret)
    yield "with an end that is no number", hs256.sign(claims(audience, exp=float("nan")), secret)
    yield "from the future", hs256.sign(claims(audience, iat=now + 600, exp=now + 900), secret)
    yield "without a subject", hs256.sign(claims(audience, sub=...), secret)
    yield "without a tenant", hs256.sign(claims(audience, ten=...), secret)
    yield "for two tenants", hs256.sign(claims(audience, ten=["acme", "globex"]), secret)
    yield "without scopes", hs256.sign(claims(audience, scp=...), secret)
    yield "with scopes that are no list", hs256.sign(claims(audience, scp="service"), secret)
    yield "with workflows that are no list", hs256.sign(claims(audience, wfs={"probe": 1}), secret)
    elsewhere = "flows" if audience != "flows" else "tools"
    yield "for another service", hs256.sign(claims(elsewhere), secret)
    yield "for two services", hs256.sign(claims(audience, aud=[audience, elsewhere]), secret)
    yield "for nobody", hs256.sign(claims(audience, aud=...), secret)
    yield "for everybody", hs256.sign(claims(audience, aud="*"), secret)


def ask(
    http: httpx.Client, operation: Operation, treasure: Treasure, base: str, token: str
) -> httpx.Response:
    return http.request(
        operation.method,
        base + treasure.fill(operation.path),
        json=operation.body(treasure),
        headers={b"Authorization": b"Bearer " + token.encode("latin-1")},
    )


def attack_all(system: RunningSystem, treasure: Treasure, rounds: int = 1) -> Counter[int]:
    """Every operation with every bad token, at the service itself; AssertionError for one that is let in."""
    bases = system.service_urls()
    work: list[tuple[Operation, str, str, str]] = [
        (operation, bases[operation.service], what, token)
        for _ in range(rounds)
        for operation in operations(system)
        if not operation.public
        for kind in (forged, misused)
        for what, token in kind(operation.service, system.service_secret())
    ]

    def one(item: tuple[Operation, str, str, str]) -> int:
        operation, base, what, token = item
        answer = ask(http, operation, treasure, base, token)
        where = f"{operation.method} {operation.path} with a token {what}: {answer.status_code} {answer.text[:200]}"
        assert answer.status_code == 401, where
        assert MARK not in answer.text, where
        return answer.status_code

    with httpx.Client(timeout=30, trust_env=False) as http, ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(one, work))


def attack(system: RunningSystem, treasure: Treasure, rounds: int) -> None:
    answers = attack_all(system, treasure, rounds)
    assert answers[401] > 1_000 * rounds
    print(f"22 {system.shape}: {answers[401]} requests with bad tokens, all refused")


@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_bad_tokens_open_no_endpoint_of_any_service(system: RunningSystem, treasure: Treasure) -> None:
    attack(system, treasure, 1)


@pytest.mark.soak
@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_bad_tokens_open_nothing_in_many_rounds(system: RunningSystem, treasure: Treasure) -> None:
    attack(system, treasure, FULL_ROUNDS)


@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_a_good_token_is_let_in_where_bad_ones_are_not(system: RunningSystem, treasure: Treasure) -> None:
    http = httpx.Client(timeout=30, trust_env=False)
    for operation in operations(system):
        if operation.internal:
            token = hs256.sign(claims(operation.service), system.service_secret())
            answer = ask(http, operation, treasure, operation.base, token)
            assert answer.status_code not in {401, 500}, (
                f"{operation.path}: {answer.status_code} {answer.text[:200]}"
            )


def at_the_edge(good: Callable[[str], str], system: RunningSystem) -> Iterator[tuple[str, httpx.Response]]:
    for path in ("/internal/v1/admin/changes", "/internal/v1/tools/call", "//internal/v1/tools/call"):
        for prefix in ("", "/api/v1/..", "/llm/%2e%2e", "/api/v1/%2e%2e/%2e%2e", "/mcp/..;"):
            address = f"{system.url}{prefix}{path}"
            headers = {"Authorization": f"Bearer {good('tools')}"}
            yield (
                address,
                httpx.post(httpx.URL(address), json={}, headers=headers, timeout=20, trust_env=False),
            )


def test_no_token_opens_a_call_between_services_at_the_edge(system: RunningSystem) -> None:
    secret = _secret_of(system)
    tried = 0
    for address, answer in at_the_edge(lambda service: hs256.sign(claims(service), secret), system):
        assert answer.status_code in {400, 401, 404, 405}, (
            f"{address}: {answer.status_code} {answer.text[:200]}"
        )
        assert "validation_failed" not in answer.text, f"{address} was reached"
        tried += 1
    print(f"22 {system.shape}: {tried} ways around the edge, none in")


def _secret_of(system: RunningSystem) -> str:
    found = system.local.environment().get("SIGNALBOX_SERVICE_SECRET")
    if found is None:
        (file,) = system.local.directory.glob("data/service-secret")
        found = file.read_text().strip()
    return found
