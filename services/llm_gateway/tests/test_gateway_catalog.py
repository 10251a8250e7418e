import asyncio

import pytest

from signalbox.common.secrets import EnvironmentSecrets
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.deployments import Capabilities, Credentials, Deployment
from signalbox.llm_gateway.discovery import CompatibleSource, OllamaSource
from signalbox.llm_gateway.errors import ModelNotFound, ProviderUnreachable


class FakeHttp:
    """Answers by path; what is not there does not answer."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    async def fetch(self, url, *, headers=None, body=None, timeout_s=2.0):
        self.asked.append((url, dict(headers or {}), body))
        answer = self.answers.get(url)
        if callable(answer):
            answer = answer(body)
        if answer is None:
            raise ProviderUnreachable("it does not answer")
        return answer


class FakeSource:
    """Offers what it is told to, after as many failures as it is told to."""

    name = "a fake server"

    def __init__(self, deployments, failures=0):
        self.offered = deployments
        self.failures = failures

    async def deployments(self):
        if self.failures:
            self.failures -= 1
            raise ProviderUnreachable("it is not up yet")
        return self.offered


def nobody(_role):
    return None


def model(name, **fields):
    return Deployment(model=name, base_url="http://127.0.0.1:1/v1", **fields)


async def test_without_any_model_the_demo_model_plays_the_roles_that_it_can():
    catalog = Catalog([], nobody)
    await catalog.start()
    choices = {choice.role: choice for choice in catalog.describe_roles()}
    assert [choices[role].model for role in ("match", "decide", "answer", "embed")] == [
        "demo",
        "demo",
        "demo",
        None,
    ]
    assert "no other" in choices["match"].reason
    assert catalog.find("demo")[0].kind == "demo"


async def test_roles_go_to_the_first_deployment_that_can_play_them():
    catalog = Catalog(
        [
            model("plain", capabilities=Capabilities(tools=False, json_mode=True)),
            model("able"),
            model("vectors", capabilities=Capabilities(chat=False, embeddings=True)),
        ],
        nobody,
    )
    choices = {choice.role: choice.model for choice in catalog.describe_roles()}
    assert choices == {"match": "plain", "decide": "plain", "answer": "able", "embed": "vectors"}
    listing = await catalog.listing()
    assert listing.roles == choices
    assert "demo" not in [info.id for info in listing.data]


async def test_the_operators_choice_wins_and_a_name_that_nobody_serves_is_said():
    catalog = Catalog([model("a")], {"match": "a", "answer": "b"}.get)
    choices = {choice.role: choice for choice in catalog.describe_roles()}
    assert (choices["match"].model, "SIGNALBOX_MODEL_MATCH" in choices["match"].reason) == ("a", True)
    assert "no deployment serves it" in choices["answer"].reason


async def test_a_lacking_model_plays_when_there_is_no_other_and_that_is_said():
    catalog = Catalog([model("a", capabilities=Capabilities(tools=False))], nobody)
    answer = next(choice for choice in catalog.describe_roles() if choice.role == "answer")
    assert answer.model == "a"
    assert "lacks tools" in answer.reason


async def test_names_are_served_exactly_before_by_a_deployment_of_every_model():
    catalog = Catalog([model("*"), model("a", upstream_model="x")], nobody)
    assert catalog.find("a")[0].provider_model == "x"
    assert catalog.find("anything/else")[0].serving("anything/else").provider_model == "anything/else"
    with pytest.raises(ModelNotFound, match="there are: a"):
        Catalog([model("a")], nobody).find("b")


async def test_what_a_model_lacks_is_remembered_for_a_while(monkeypatch):
    catalog = Catalog([model("a")], nobody)
    catalog.learn(catalog.find("a")[0], lacks="tools")
    catalog.learn(catalog.find("a")[0], lacks="json_mode")
    capabilities = catalog.as_learned(catalog.find("a")[0]).capabilities
    assert (capabilities.tools, capabilities.json_mode) == (False, False)
    monkeypatch.setattr("signalbox.llm_gateway.catalog.LEARNED_S", 0.0)
    catalog.learn(catalog.find("a")[0], lacks="tools")
    assert catalog.as_learned(catalog.find("a")[0]).capabilities.tools is None


async def test_a_server_that_is_down_at_the_start_is_asked_until_it_answers(monkeypatch):
    monkeypatch.setattr("signalbox.llm_gateway.catalog._RETRY_S", (0.001,))
    source = FakeSource([model("late")], failures=3)
    catalog = Catalog([model("*")], nobody, sources=[source])
    await catalog.start()
    await catalog.settle()
    assert "it is not up yet" in catalog.describe_roles()[0].reason
    await asyncio.wait_for(asyncio.gather(*catalog._tasks), 5)
    assert catalog.describe_roles()[0].model == "late"
    await catalog.stop()


async def test_a_first_call_waits_for_the_local_server_but_not_for_long():
    class Silent(FakeSource):
        async def deployments(self):
            await asyncio.Event().wait()

    catalog = Catalog([], nobody, local=Silent([]))
    await catalog.start()
    async with asyncio.timeout(2):
        await catalog.settle()
    assert catalog.find("demo")[0].kind == "demo"
    await catalog.stop()


async def test_ollama_says_what_its_models_can_do():
    url = "http://127.0.0.1:11434"
    abilities = {"chatty:1b": ["completion"], "handy:8b": ["completion", "tools"], "vectors": ["embedding"]}
    http = FakeHttp(
        {
            f"{url}/api/tags": {"models": [{"name": name} for name in [*abilities, "old-embed"]]},
            f"{url}/api/show": lambda body: (
                {"capabilities": abilities[body["model"]]} if body["model"] in abilities else None
            ),
        }
    )
    catalog = Catalog([], nobody, local=OllamaSource(http, url))
    await catalog.start()
    await catalog.settle()
    assert {choice.role: choice.model for choice in catalog.describe_roles()} == {
        "match": "chatty:1b",
        "decide": "chatty:1b",
        "answer": "handy:8b",
        "embed": "vectors",
    }
    found = catalog.find("handy:8b")[0]
    assert (found.url, found.key) == (f"{url}/v1", None)


async def test_no_ollama_is_nothing_to_speak_of():
    catalog = Catalog([], nobody, local=OllamaSource(FakeHttp({}), "http://127.0.0.1:11434"))
    await catalog.start()
    await catalog.settle()
    assert "Ollama" not in catalog.describe_roles()[0].reason


async def test_a_compatible_server_is_asked_with_its_key():
    http = FakeHttp(
        {"http://127.0.0.1:1/v1/models": {"data": [{"id": "chat-1"}, {"id": "text-embedding-x"}, {}]}}
    )
    credentials = Credentials(EnvironmentSecrets({}), {"K": "planted"})
    source = CompatibleSource(http, credentials, model("*", key="env:K"))
    chat, embedding = await source.deployments()
    assert (chat.model, chat.capabilities.chat, chat.key) == ("chat-1", True, "env:K")
    assert (embedding.capabilities.chat, embedding.capabilities.embeddings) == (False, True)
    assert http.asked[0][1] == {"authorization": "Bearer planted"}


@pytest.mark.parametrize("answer", [[], {"data": "x"}, {"data": [1, {"id": None}]}, {}])
async def test_a_list_of_any_other_shape_is_an_empty_one(answer):
    http = FakeHttp({"http://127.0.0.1:1/v1/models": answer or {"x": 1}})
    credentials = Credentials(EnvironmentSecrets({}), {})
    assert await CompatibleSource(http, credentials, model("*")).deployments() == []
