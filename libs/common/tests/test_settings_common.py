"""Settings that every service has."""

import stat
import subprocess
import sys

import pytest
from pydantic import ValidationError

from signalbox.common.settings import CommonSettings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith(("SIGNALBOX_", "OTEL_")) or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)


def test_nothing_has_to_be_set():
    settings = CommonSettings()
    assert settings.host == "127.0.0.1"
    assert settings.redis_url is None
    assert settings.database_url_of("tools").startswith("sqlite:////")
    assert settings.database_url_of("tools").endswith("/.signalbox/tools.db")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_without_authentication_only_loopback_is_listened_on(host, monkeypatch):
    monkeypatch.setenv("SIGNALBOX_HOST", host)
    with pytest.raises(ValidationError) as refused:
        CommonSettings()
    [error] = refused.value.errors()
    assert f"refusing to listen on {host}" in error["msg"]
    assert "SIGNALBOX_AUTH=keys" in error["msg"]
    monkeypatch.setenv("SIGNALBOX_AUTH", "keys")
    assert CommonSettings().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_none(host, monkeypatch):
    monkeypatch.setenv("SIGNALBOX_HOST", host)
    assert CommonSettings().host == host


@pytest.mark.parametrize(("field", "short"), [("database_url", "DATABASE_URL"), ("redis_url", "REDIS_URL")])
def test_stores_are_named_as_platforms_name_them_and_our_own_name_wins(field, short, monkeypatch):
    monkeypatch.setenv(short, "redis://usual")
    assert getattr(CommonSettings(), field) == "redis://usual"
    monkeypatch.setenv(f"SIGNALBOX_{short}", "redis://own")
    assert getattr(CommonSettings(), field) == "redis://own"
    assert getattr(CommonSettings(**{field: "redis://given"}), field) == "redis://given"


def test_traces_go_where_opentelemetry_is_told(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4318")
    assert CommonSettings().otlp_endpoint == "http://jaeger:4318"


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    for name in ("REDIS_URL", "DATABASE_URL", "SIGNALBOX_SERVICE_SECRET", "SIGNALBOX_VARIABLES"):
        monkeypatch.setenv(name, "")
    settings = CommonSettings()
    assert settings.redis_url is None
    assert settings.database_url is None
    assert settings.service_secret is None


def test_settings_that_are_dumped_and_given_again_are_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("SIGNALBOX_SERVICE_SECRET", "hush")
    settings = CommonSettings(data=tmp_path, variables={"shop": "http://127.0.0.1:9"}, redis_url="redis://x")
    again = CommonSettings(**settings.model_dump())
    assert again == settings
    assert again.load_service_secret() == "hush"
    assert "hush" not in repr(settings)


def test_a_shared_database_serves_all_services():
    settings = CommonSettings(database_url="postgresql://db/x")
    assert settings.database_url_of("admin") == settings.database_url_of("tools") == "postgresql://db/x"


def test_the_service_secret_is_made_once_and_kept_from_others(tmp_path):
    settings = CommonSettings(data=tmp_path / "new")
    secret = settings.load_service_secret()
    assert len(secret) >= 48
    assert settings.load_service_secret() == secret
    [file] = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_one_secret(tmp_path):
    program = (
        "import sys; from pathlib import Path; from signalbox.common.settings import CommonSettings\n"
        "settings = CommonSettings(data=Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
        "print(settings.load_service_secret())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    secrets = {process.communicate(timeout=30)[0] for process in started}
    assert len(secrets) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["service-secret"]
