"""Which deployments want marks for their prompt cache."""

import pytest

from signalbox.llm_gateway.deployments import Deployment


@pytest.mark.parametrize(
    ("provider", "model", "told", "wants"),
    [
        ("anthropic", "claude-sonnet", None, True),
        ("anthropic", "claude-sonnet", False, False),
        ("bedrock", "anthropic.claude-sonnet", None, True),
        ("bedrock", "amazon.nova", None, False),
        ("openrouter", "anthropic/claude-sonnet", None, True),
        ("openrouter", "openai/gpt-5", None, False),
        ("gemini", "gemini-pro", None, False),
        ("openai", "gpt-5", None, False),
        ("openai-compatible", "claude-sonnet", None, False),
        ("openai-compatible", "claude-sonnet", True, True),
    ],
)
def test_marks_are_wanted_by_anthropics_models_and_whoever_is_said_to(provider, model, told, wants):
    url = "http://127.0.0.1:1/v1" if provider == "openai-compatible" else None
    deployment = Deployment.model_validate(
        {"model": model, "provider": provider, "base_url": url, "capabilities": {"cache_marks": told}}
    )
    assert ("cache_marks" in deployment.extensions) is wants
