"""Reads the repository's Markdown: fenced blocks, links, code spans."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_SPAN = re.compile(r"`(?P<code>[^`\n]+)`")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, what stands after that, its text, and where it begins."""

    language: str
    argument: str
    body: str
    line: int


def repository_files() -> list[Path]:
    """Every file that is committed, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = [ROOT / name for name in listed.split("\0") if name]
    return sorted(path for path in found if path.is_file())


def pages() -> list[Path]:
    """Every Markdown page."""
    return [path for path in repository_files() if path.suffix == ".md"]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        language, _, argument = match["info"].strip().partition(" ")
        yield Block(language, argument, match["body"], text.count("\n", 0, match.start()) + 1)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Targets of a page's links."""
    return [match["target"] for match in _LINK.finditer(prose(page))]


def code_spans(page: Path) -> list[str]:
    """What a page writes as inline code."""
    return [match["code"] for match in _SPAN.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = (match["title"].strip().lower() for match in _HEADING.finditer(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def table_under(page: Path, heading: str) -> dict[str, list[str]]:
    """The first table under a heading: for each row, by its first cell without backticks, the other cells."""
    text = page.read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page.name} has no heading {heading!r}"
    lines = iter(rest.splitlines())
    rows: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("|"):
            first, *others = [cell.strip() for cell in line.strip("|").split(" | ")]
            rows[first.strip("`")] = others
        elif rows or line.startswith("#"):
            break
    return dict(list(rows.items())[2:])
