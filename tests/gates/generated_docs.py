"""The generated pages and sections of ``docs/`` are in sync with the code; ``--write`` brings them so.

A section stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; everything else of its page is written
by hand.
"""

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SECTION = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n)(?P<content>.*?)(<!-- end -->)", re.DOTALL)

_READ_BY_SETTINGS = ("SIGNALBOX_", "DATABASE_URL", "REDIS_URL", "OPENAI_", "OTEL_")

Renderer = Callable[[], list[str]]


def renderers() -> dict[str, Renderer]:
    """What makes each section."""
    import doc_services
    import doc_tables

    return {
        "routes-workflow": partial(doc_services.routes, "workflow"),
        "routes-llm-gateway": partial(doc_services.routes, "llm_gateway"),
        "routes-admin": partial(doc_services.routes, "admin"),
        "settings": doc_services.settings,
        "problems": doc_services.problems,
        "requests": doc_tables.request_models,
        "replies": doc_tables.reply_models,
        "background": doc_tables.background_models,
        "parts": doc_tables.part_models,
        "events": doc_tables.event_models,
        "statuses": doc_tables.statuses,
    }


def wanted_pages() -> dict[Path, str]:
    """Every page with something generated in it, as it should be.

    Raises:
        ValueError: a page asks for a section that nothing makes, or nobody asks for one.
    """
    from signalbox.common.reference import render_reference

    pages = {ROOT / "docs" / "config-reference.md": render_reference()}
    made = renderers()
    asked: set[str] = set()
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        names = [match["name"] for match in _SECTION.finditer(text)]
        asked.update(names)
        if unknown := set(names) - made.keys():
            raise ValueError(f"{path}: nothing makes the sections {', '.join(sorted(unknown))}")
        if names:
            pages[path] = _SECTION.sub(
                lambda match: f"{match[1]}{_content(made[match['name']])}{match[4]}", text
            )
    if missing := made.keys() - asked:
        raise ValueError(f"no page has the sections {', '.join(sorted(missing))}")
    return pages


def _content(render: Renderer) -> str:
    return "\n".join(["", *render(), "", ""])


def main() -> int:
    """Compare, or write; the exit status says whether a committed page is stale."""
    stale = 0
    pages = wanted_pages()
    for path, wanted in pages.items():
        committed = path.read_text(encoding="utf-8") if path.exists() else ""
        if committed == wanted:
            continue
        if "--write" in sys.argv:
            path.write_text(wanted, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)} is stale; run 'make docs'")
        lines = difflib.unified_diff(
            committed.splitlines(), wanted.splitlines(), "committed", "code", lineterm=""
        )
        print("\n".join(list(lines)[:30]))
    if not stale:
        print(f"docs: {len(pages)} generated pages are in sync")
    return 1 if stale else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for variable in [name for name in os.environ if name.startswith(_READ_BY_SETTINGS)]:
            del os.environ[variable]
        os.environ["SIGNALBOX_DATA"] = directory
        sys.exit(main())
