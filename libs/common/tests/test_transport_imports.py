"""Only the transports import an HTTP client: every outgoing call has a deadline and a checked address."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
CLIENTS = {
    "aiohttp",
    "httptools",
    "httpx",
    "httpx2",
    "requests",
    "urllib3",
    "pyreqwest",
    "http.client",
    "urllib.request",
}


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def clients_of(source: Path) -> set[str]:
    return {name for name in imported(source) if name in CLIENTS or name.partition(".")[0] in CLIENTS}


def test_http_clients_are_imported_by_the_transports_alone() -> None:
    sources = [path for part in ("libs", "services") for path in ROOT.glob(f"{part}/*/src/**/*.py")]
    # The gateway's upstreams pass a provider's bytes through; their addresses are the operator's own settings.
    transports = [path for path in sources if path.parent.name in {"transport", "wire", "upstreams"}]
    assert any("httptools" in clients_of(path) for path in transports)
    found = {
        f"{path.relative_to(ROOT)}: {sorted(clients)}"
        for path in sources
        if path not in transports and "cli" not in {*path.parts, path.stem} and (clients := clients_of(path))
    }
    assert found == set()
