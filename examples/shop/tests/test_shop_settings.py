"""The shop's settings and command line."""

from pathlib import Path

import pytest

from signalbox_example_shop.__main__ import main, parse_settings
from signalbox_example_shop.settings import Settings, SettingsError


def test_defaults_need_nothing() -> None:
    assert Settings.from_environment({}) == Settings(None, 8900, None, "127.0.0.1")


def test_the_environment_is_read_and_empty_means_not_set() -> None:
    read = Settings.from_environment({"SHOP_DATABASE": "/data/s.db", "SHOP_PORT": "8901", "SHOP_TOKEN": "t"})
    empty = Settings.from_environment({"SHOP_DATABASE": "", "SHOP_PORT": "", "SHOP_TOKEN": ""})

    assert read == Settings(Path("/data/s.db"), 8901, "t")
    assert empty == Settings()


@pytest.mark.parametrize("port", ["0", "65536", "-1", "eighty", "²"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match="from 1 to 65535"):
        Settings.from_environment({"SHOP_PORT": port})


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PORT", "8901")
    monkeypatch.setenv("SHOP_TOKEN", "t")

    assert parse_settings([]).port == 8901
    assert parse_settings(["--port", "8902", "--database", "x.db"]) == Settings(Path("x.db"), 8902, "t")


def test_a_file_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    monkeypatch.setattr("sys.argv", ["shop", "--database", str(path)])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
