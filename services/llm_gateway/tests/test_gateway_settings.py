import pytest
from pydantic import ValidationError

from signalbox.common.secrets import EnvironmentSecrets
from signalbox.common.settings import SettingsError
from signalbox.llm_gateway.deployments import Credentials, Deployment
from signalbox.llm_gateway.errors import BadDeployment
from signalbox.llm_gateway.offers import declared_deployments
from signalbox.llm_gateway.settings import GatewaySettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_set_offers_nothing():
    assert declared_deployments(GatewaySettings()) == []


def test_an_openai_key_offers_named_models_and_every_other(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    settings = GatewaySettings()
    offered = declared_deployments(settings)
    assert [deployment.model for deployment in offered] == [
        "gpt-4.1-mini",
        "gpt-4o-mini",
        "text-embedding-3-small",
        "*",
    ]
    assert all(deployment.key == "env:OPENAI_API_KEY" for deployment in offered)
    assert "sk-planted" not in repr(settings)


def test_another_server_needs_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1/")
    assert [(one.model, one.key, one.url) for one in declared_deployments(GatewaySettings())] == [
        ("*", None, "http://127.0.0.1:1/v1")
    ]


def test_deployments_come_from_the_variable_and_the_file(monkeypatch, tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text(
        "deployments:\n- {model: b, provider: anthropic, key: 'secret:b', capabilities: {json: false}}\n"
    )
    monkeypatch.setenv("SIGNALBOX_LLM_DEPLOYMENTS", '[{"model": "a", "key": "env:A_KEY"}]')
    monkeypatch.setenv("SIGNALBOX_LLM_DEPLOYMENTS_FILE", str(file))
    first, second = GatewaySettings().deployments()
    assert (first.model, first.kind, first.name) == ("a", "openai", "openai/a")
    assert (second.model, second.kind, second.capabilities.json_mode) == ("b", "litellm", False)


def test_a_wrong_file_is_said_in_words_without_its_values(tmp_path):
    file = tmp_path / "deployments.yaml"
    file.write_text("- {model: a, key: sk-planted, tiemout_s: 3}\n")
    with pytest.raises(SettingsError) as error:
        GatewaySettings(llm_deployments_file=file).deployments()
    assert "tiemout_s" in error.value.detail
    assert "sk-planted" not in error.value.detail


def test_a_key_given_as_a_value_is_refused_and_not_repeated():
    with pytest.raises(ValidationError) as error:
        Deployment(model="a", key="sk-planted")
    assert "sk-planted" not in str(error.value)


def test_a_server_of_ones_own_needs_an_address():
    with pytest.raises(ValidationError, match="needs a base_url"):
        Deployment(model="a", provider="vllm")


async def test_keys_and_headers_are_looked_up_at_the_call():
    environment = {"A_KEY": "one", "SIGNALBOX_SECRET_B": "two"}
    credentials = Credentials(EnvironmentSecrets(environment), environment)
    deployment = Deployment(
        model="a", key="env:A_KEY", headers={"api-key": "secret:b", "x-plain": "as it is"}
    )
    assert (await credentials.key(deployment)).reveal() == "one"
    assert await credentials.headers(deployment) == {"api-key": "two", "x-plain": "as it is"}
    for reference in ("env:MISSING", "secret:missing"):
        with pytest.raises(BadDeployment, match="openai/a"):
            await credentials.key(Deployment(model="a", key=reference))


def test_a_role_may_have_its_own_model():
    settings = GatewaySettings(model="big", model_match="small")
    assert settings.model_of("match") == "small"
    assert settings.model_of("answer") == "big"
    assert settings.model_of("embed") is None
