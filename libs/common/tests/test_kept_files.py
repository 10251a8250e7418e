"""Files that can be had again, in a folder of limited size."""

import os
from pathlib import Path

from signalbox.common.kept_files import KeptFiles


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def aged(folder: Path, *names: str) -> None:
    """Let the files have been used in this order, long ago."""
    for age, name in enumerate(names):
        os.utime(folder / name, (age, age))


def test_a_file_is_kept_under_its_name(tmp_path: Path) -> None:
    files = KeptFiles(tmp_path / "new", 1_000)
    assert files.read("a/b") is None
    assert not files.has("a/b")
    files.write("a/b", b"1")
    files.write("a/b", b"2")
    assert files.has("a/b")
    assert files.read("a/b") == b"2"
    assert written(tmp_path / "new") == {"a/b"}


def test_those_used_longest_ago_go_first(tmp_path: Path) -> None:
    files = KeptFiles(tmp_path, 800)
    for name in "abcdefg":
        files.write(name, bytes(100))
    aged(tmp_path, *"abcdefg")
    assert files.read("a") == bytes(100)
    files.write("h", bytes(101))
    assert written(tmp_path) == {"a", "d", "e", "f", "g", "h"}


def test_what_is_spared_stays_whatever_it_takes(tmp_path: Path) -> None:
    spared = {"x/a", "x/b"}
    files = KeptFiles(tmp_path, 100, lambda: spared)
    for name in ("x/a", "x/b", "x/c", "x/d"):
        files.write(name, bytes(100))
    assert written(tmp_path) == {"x/a", "x/b"}
    spared.remove("x/a")
    files.write("x/b", bytes(80))
    assert written(tmp_path) == {"x/b"}


def test_the_bound_holds_all_the_time_also_for_what_another_process_left(tmp_path: Path) -> None:
    KeptFiles(tmp_path, 10**9).write("old", bytes(5_000))
    aged(tmp_path, "old")
    files = KeptFiles(tmp_path, 1_000)
    for number in range(200):
        files.write(str(number), bytes(10))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000
    assert "199" in written(tmp_path)
    assert "0" not in written(tmp_path)


def test_a_folder_that_cannot_be_written_is_said_and_endured(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    files = KeptFiles(tmp_path / "file", 1_000)
    files.write("a", b"1")
    assert files.read("a") is None
    assert "on disk" in caplog.text
