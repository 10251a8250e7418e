"""Each service's ``openapi.json`` is committed and in sync with its code; ``--write`` brings it so."""

import difflib
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Compare, or write; the exit status says whether a committed document is stale."""
    from signalbox.common.cli.serve import load_factory
    from signalbox.common.settings import SERVICE_NAMES
    from signalbox.common.web.openapi import render_openapi

    stale = 0
    for service in SERVICE_NAMES:
        path = ROOT / "services" / service / "openapi.json"
        wanted = render_openapi(load_factory(service)())
        if "--write" in sys.argv:
            path.write_text(wanted, encoding="utf-8")
            continue
        committed = path.read_text(encoding="utf-8") if path.exists() else ""
        if committed != wanted:
            stale += 1
            lines = difflib.unified_diff(
                committed.splitlines(), wanted.splitlines(), "committed", "code", lineterm=""
            )
            print(f"{path.relative_to(ROOT)} is stale; run 'make openapi'")
            print("\n".join(list(lines)[:30]))
    if not stale:
        print(f"openapi: {len(SERVICE_NAMES)} documents are in sync")
    return 1 if stale else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.environ["SIGNALBOX_DATA"] = directory
        sys.exit(main())
