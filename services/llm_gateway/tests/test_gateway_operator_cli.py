import pytest
import yaml
from typer.testing import CliRunner

from signalbox.common.auth import KeyRing
from signalbox.common.settings import SettingsError
from signalbox.common.storage.migrations import migrate
from signalbox.llm_gateway.cli import app
from signalbox.llm_gateway.policies.keys import KeySpec


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNALBOX_DATA", str(tmp_path))
    migrate("llm_gateway", "signalbox.llm_gateway.migrations", f"sqlite:///{tmp_path / 'llm_gateway.db'}")

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


def test_a_key_for_the_file_is_printed_once_with_its_entry(run):
    made = run("gateway-key", "--name", "till", "--model", "small", "--max-output", 9)
    key = made.stdout.strip()
    entry = made.stderr.partition("\n\n")[2]
    (spec,) = yaml.safe_load(entry)
    assert key.rpartition("_")[2] not in entry
    principal = KeyRing([KeySpec.model_validate(spec).record()]).verify(key)
    assert (principal.tenant, principal.models, principal.default_max_output) == ("default", {"small"}, 9)


def test_prices_are_added_and_listed(run, tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text("- {provider: openai, model: m, input: 0.1, output: 2, from: 2026-01-31}\n")
    assert run("prices", "add", file).stdout == "added 1 price(s)\n"
    listed = run("prices", "list").stdout
    assert listed == "2026-01-31 00:00:00+0000  openai m                          0.1 in, 2 out, USD\n"
    file.write_text("- {provider: openai, input: 1}\n")
    with pytest.raises(SettingsError, match="a price names a deployment"):
        run("prices", "add", file)
