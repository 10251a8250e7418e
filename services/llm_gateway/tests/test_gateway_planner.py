import pytest

from signalbox.common.settings import SettingsError
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.deployments import Capabilities, Deployment
from signalbox.llm_gateway.errors import ModelNotFound, NotAChatModel
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.offers import declared_deployments, routes_for
from signalbox.llm_gateway.routing import ModelRoute, Planner
from signalbox.llm_gateway.settings import GatewaySettings


def at(model, **fields):
    return Deployment(**{"model": model, "base_url": "http://x/v1", **fields})


def planner(deployments, *routes):
    return Planner(Catalog(deployments, lambda _: None), Prices(), [ModelRoute(**route) for route in routes])


def named(groups):
    return [group.model for group in groups]


async def test_deployments_of_one_name_are_a_group_and_others_stand_in():
    plan = await planner(
        [at("a", id="a1"), at("b", id="b1"), at("a", id="a2"), at("big"), at("free")],
        {
            "name": "a",
            "fallbacks": ["b"],
            "context_window_fallbacks": ["big"],
            "content_filter_fallbacks": ["free"],
        },
    ).plan("a", "chat/completions")
    assert [candidate.deployment.name for candidate in plan.group.candidates] == ["a1", "a2"]
    assert (named(plan.fallbacks), named(plan.larger), named(plan.filtered)) == (["b"], ["big"], ["free"])
    assert [deployment.model for deployment in plan.deployments] == ["a", "a", "b", "big", "free"]
    assert plan.prefills is False


async def test_a_rule_for_every_model_holds_for_those_without_their_own():
    plans = planner([at("a"), at("b")], {"name": "*", "fallbacks": ["b"], "max_attempts": 2})
    plan = await plans.plan("a", "chat/completions")
    assert (named(plan.fallbacks), plan.group.rule.max_attempts) == (["b"], 2)
    assert named((await plans.plan("b", "chat/completions")).fallbacks) == []


async def test_a_plan_is_made_once_until_the_models_change():
    plans = planner([at("a")])
    plan = await plans.plan("a", "chat/completions")
    assert await plans.plan("a", "chat/completions") is plan
    plans._catalog.version += 1
    again = await plans.plan("a", "chat/completions")
    assert again is not plan
    assert again.group.candidates[0].health is plan.group.candidates[0].health


async def test_only_what_can_do_the_operation_is_asked():
    chat = at("a", id="chat", capabilities=Capabilities(embeddings=False))
    embeds = at("a", id="embeds", capabilities=Capabilities(chat=False, embeddings=True))
    plans = planner([chat, embeds])
    assert (await plans.plan("a", "chat/completions")).deployments == (chat,)
    assert (await plans.plan("a", "embeddings")).deployments == (embeds,)
    with pytest.raises(NotAChatModel):
        await planner([chat]).plan("a", "embeddings")
    with pytest.raises(ModelNotFound):
        await plans.plan("other", "chat/completions")


async def test_models_of_one_server_have_their_own_health():
    plans = planner([at("*")])
    one, other = [await plans.plan(model, "chat/completions") for model in ("x", "y")]
    assert one.first.provider_model == "x"
    assert one.group.candidates[0].health is not other.group.candidates[0].health


async def test_deployments_are_ranked_by_what_the_same_call_costs():
    prices = [{"input": "2", "output": "1"}, {"input": "1", "output": "2"}, None]
    deployments = [at("a", id=str(number), price=price) for number, price in enumerate(prices)]
    deployments.append(at("a", id="3", price={"input": "0", "output": "0", "currency": "EUR"}))
    plan = await planner(deployments, {"name": "a", "strategy": "cheapest"}).plan("a", "chat/completions")
    ranks = [candidate.price_rank for candidate in plan.group.candidates]
    assert ranks[1] < ranks[0] < ranks[2] == ranks[3]


def settings(*deployments, models=(), **more):
    return GatewaySettings(
        ollama_url="", openai_api_key=None, llm_deployments=list(deployments), llm_models=list(models), **more
    )


def test_all_that_is_wrong_with_the_routes_is_said_at_once():
    wrong = settings(
        at("a"),
        models=[
            {"name": "a", "fallbacks": ["nobody", "a"]},
            {"name": "a"},
            {"name": "none", "content_filter_fallbacks": ["neither"]},
        ],
    )
    with pytest.raises(SettingsError) as raised:
        routes_for(wrong, declared_deployments(wrong))
    for said in (
        "models.0.fallbacks: no deployment serves 'nobody'",
        "models.0.fallbacks: 'a' cannot stand in for itself",
        "models.1.name: 'a' is there twice",
        "models.2.name: no deployment serves 'none'",
        "models.2.content_filter_fallbacks: no deployment serves 'neither'",
    ):
        assert said in raised.value.detail


def test_where_a_server_serves_every_model_every_name_is_good():
    good = settings(at("*"), models=[{"name": "x", "fallbacks": ["y"]}])
    assert [route.name for route in routes_for(good, declared_deployments(good))] == ["x"]


def test_routes_come_from_the_file_too(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "deployments:\n- {model: a, base_url: 'http://x/v1'}\nmodels:\n- {name: a, hedge: {}, strategy: cheapest}\n"
    )
    (route,) = settings(llm_deployments_file=file).model_routes()
    assert (route.strategy, route.hedge.quantile) == ("cheapest", 0.95)
    file.write_text("models:\n- {name: a, strategy: random}\n- {name: a, max_attempts: 0}\n")
    with pytest.raises(SettingsError) as raised:
        settings(llm_deployments_file=file).model_routes()
    assert "models.0.strategy" in raised.value.detail
    assert "models.1.max_attempts" in raised.value.detail
