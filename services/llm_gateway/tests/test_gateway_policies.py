"""The rules of this moment: their sources, and what is done when one is away or wrong."""

import logging

import pytest
import yaml
from pydantic import ValidationError
from support.async_waiting import until

from signalbox.common.auth import KeyRing, create_key
from signalbox.common.errors import Unauthenticated
from signalbox.common.settings import SettingsError
from signalbox.common.storage import StorageUnavailable
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import DeclaredInFile, RuleNotFound
from signalbox.llm_gateway.gateway_file import GatewayFile
from signalbox.llm_gateway.money import DatedPrice, Prices
from signalbox.llm_gateway.policies import BudgetRule, LimitRule
from signalbox.llm_gateway.policies.managing import ManagedPolicies
from signalbox.llm_gateway.policies.rules import LimitSpec
from signalbox.llm_gateway.policies.source import PolicySource
from signalbox.llm_gateway.policies.store import StoredPolicies

FIVE = LimitRule(name="five", tenant="acme", of="key", requests=5)
OPERATOR = Principal(tenant="acme", subject="key:1", scopes=frozenset({Scope.KEYS_WRITE}))
SERVER = Deployment(model="m", base_url="http://127.0.0.1:1/v1")


class FakeStore:
    """Keeps policies in memory; ``away`` makes every call fail."""

    def __init__(self):
        self.stored = StoredPolicies()
        self.away = False

    def _reached(self):
        if self.away:
            raise StorageUnavailable("away")

    async def version(self):
        self._reached()
        return self.stored.version

    async def load(self):
        self._reached()
        return self.stored

    def change(self, **fields):
        self.stored = self.stored.model_copy(update={"version": self.stored.version + 1, **fields})

    async def put(self, rule, change):
        self._reached()
        others = [one for one in self.stored.limits if (one.tenant, one.name) != (rule.tenant, rule.name)]
        self.change(limits=(*others, rule))

    async def delete(self, kind, tenant, name):
        self._reached()
        kept = tuple(one for one in self.stored.limits if (one.tenant, one.name) != (tenant, name))
        found = len(kept) != len(self.stored.limits)
        self.change(limits=kept)
        return found

    async def add_price(self, price, change):
        raise NotImplementedError


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr("signalbox.llm_gateway.policies.source.POLL_S", 0.01)
    return tmp_path / "gateway.yaml"


@pytest.fixture
async def start(file, tmp_path):
    """Starts sources over one file and one place to keep what was read."""
    running = []

    async def start(store, keys=None, prices=None):
        source = PolicySource(
            file if file.exists() else None,
            lambda: GatewayFile.read(file) if file.exists() else GatewayFile(),
            store,
            tmp_path / "kept" / "policies.json",
            keys=KeyRing() if keys is None else keys,
            prices=Prices() if prices is None else prices,
        )
        running.append(source)
        await source.start()
        return source

    yield start
    for source in running:
        await source.stop()


def write(file, **sections):
    file.write_text(yaml.safe_dump(sections))


async def test_rules_of_the_file_and_the_tables_hold_together_and_the_files_go_before(file, start):
    write(
        file,
        limits=[{"name": "all", "tenant": "*", "of": "tenant", "requests": 1}],
        tenants=[{"tenant": "acme", "timezone": "Europe/Berlin"}],
    )
    store = FakeStore()
    store.change(limits=(FIVE, FIVE.model_copy(update={"name": "all"})))
    source = await start(store)
    assert [(rule.name, rule.tenant) for rule in source.current().limits] == [("all", "*"), ("five", "acme")]
    assert source.current().timezone_of("acme") == "Europe/Berlin"
    assert source.current() is source.current()


async def test_a_change_of_the_file_holds_soon_and_a_mistake_in_it_changes_nothing(file, start, caplog):
    write(file, limits=[{"name": "a", "of": "key", "requests": 1}])
    source = await start(FakeStore())
    before = source.current().version
    write(file, limits=[{"name": "a", "of": "key", "requests": 2}])
    await until(lambda: source.current().limits[0].requests == 2)
    assert source.current().version > before
    with caplog.at_level(logging.ERROR):
        write(file, limits=[{"name": "a", "of": "key", "request": 3}])
        await until(lambda: "the changed file is not used" in caplog.text)
    assert "limits.0.request" in caplog.text
    assert source.current().limits[0].requests == 2
    file.unlink()
    write(file, limits=[])
    await until(lambda: source.current().limits == ())


async def test_a_change_of_the_tables_holds_soon(start):
    store = FakeStore()
    source = await start(store)
    assert source.current().limits == ()
    store.change(limits=(FIVE,))
    await until(lambda: source.current().limits == (FIVE,))


async def test_while_the_database_is_away_what_was_known_holds_also_after_a_restart(start, caplog):
    store = FakeStore()
    store.change(limits=(FIVE,), budgets=(BudgetRule(name="b", of="tenant", amount=1, window="day"),))
    first = await start(store)
    store.away = True
    with caplog.at_level(logging.WARNING):
        await until(lambda: "cannot be read from the database" in caplog.text)
    assert first.current().limits == (FIVE,)
    second = await start(store)
    assert (second.current().limits, second.current().budgets) == (
        first.current().limits,
        first.current().budgets,
    )
    store.away = False
    store.change(limits=())
    await until(lambda: second.current().limits == ())
    assert caplog.text.count("read from the database again") <= 2


async def test_keys_of_the_file_work_until_they_are_taken_out_of_it(file, start):
    key, keys = create_key(), KeyRing()
    entry = {
        "key_id": key.key_id,
        "secret_sha256": key.secret_sha256,
        "name": "till",
        "tenant": "acme",
        "models": ["small"],
        "default_max_output": 7,
        "priority": 3,
    }
    write(file, keys=[entry])
    await start(FakeStore(), keys=keys)
    principal = keys.verify(key.key)
    assert (principal.tenant, principal.subject, principal.scopes) == (
        "acme",
        f"key:{key.key_id}",
        {Scope.LLM},
    )
    assert (principal.models, principal.default_max_output, principal.priority) == ({"small"}, 7, 3)
    write(file, keys=[])
    await until(lambda: len(keys) == 0)
    with pytest.raises(Unauthenticated):
        keys.verify(key.key)


async def test_prices_of_the_tables_go_before_those_of_the_file_and_a_deployments_own_before_both(
    file, start
):
    write(file, prices=[{"provider": "openai", "model": "m", "input": "3"}])
    store, prices = FakeStore(), Prices()
    source = await start(store, prices=prices)
    before = source.current().version
    assert (await prices.of(SERVER)).rates.input * 10**6 == 3
    store.change(prices=(DatedPrice.model_validate({"deployment": SERVER.name, "input": "2"}),))
    await until(lambda: source.current().version > before)
    assert (await prices.of(SERVER)).rates.input * 10**6 == 2
    own = SERVER.model_copy(update={"cost": "unknown"})
    assert await prices.of(own) is None


@pytest.mark.parametrize(
    ("sections", "wrong"),
    [
        ({"limits": [{"name": "a", "of": "key", "requests": 1}] * 2}, "limits: a of default is there twice"),
        ({"limits": [{"name": "a", "of": "key"}]}, "at least one of requests, tokens and parallel"),
        ({"budgets": [{"name": "a", "of": "key", "amount": 0, "window": "day"}]}, "budgets.0.amount"),
        ({"tenants": [{"tenant": "t", "timezone": "Mars/North"}]}, "no time zone"),
        ({"prices": [{"input": 1}]}, "a price names a deployment"),
        ({"prices": [{"deployment": "a/b", "input": 1, "from": "2026-01-31T00:00:00"}]}, "needs its offset"),
        ({"keys": [{"key_id": "k", "secret_sha256": "secret", "name": "n"}]}, "keys.0.secret_sha256"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_where(file, sections, wrong):
    write(file, **sections)
    with pytest.raises(SettingsError, match=wrong):
        GatewayFile.read(file)


async def test_operators_change_rules_of_their_own_tenant_alone(file, start):
    write(file, limits=[{"name": "all", "tenant": "*", "of": "tenant", "requests": 1}])
    store = FakeStore()
    store.change(limits=(FIVE.model_copy(update={"tenant": "other"}),))
    source = await start(store)
    managed = ManagedPolicies(source, store)
    spec = LimitSpec(of="key", requests=5)
    put = await managed.put_limit(OPERATOR, "five", spec)
    assert (put.name, put.requests, put.declared_in) == ("five", 5, "table")
    assert FIVE in source.current().limits
    assert [(view.name, view.declared_in) for view in managed.limits(OPERATOR)] == [
        ("all", "file"),
        ("five", "table"),
    ]
    with pytest.raises(DeclaredInFile):
        await managed.put_limit(OPERATOR, "all", spec)
    await managed.delete(OPERATOR, LimitRule, "five")
    assert [view.name for view in managed.limits(OPERATOR)] == ["all"]
    for name in ("five", "all"):
        with pytest.raises(RuleNotFound):
            await managed.delete(OPERATOR, LimitRule, name)
    assert [rule.tenant for rule in source.current().limits] == ["*", "other"]


@pytest.mark.parametrize("wrong", [{"requests": "60"}, {"requests": True}, {"requests": 1, "wait_s": "2"}])
def test_numbers_of_a_limit_are_written_as_numbers(wrong):
    with pytest.raises(ValidationError):
        LimitSpec.model_validate({"of": "key", **wrong})
