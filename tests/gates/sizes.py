"""No file over 500 lines, no function over 60: past that, splitting it is a design question."""

import ast
import sys
from pathlib import Path

MAX_FILE = 500
MAX_FUNCTION = 60
ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("libs", "services", "examples", "tests", "deploy", "bench", "packages")


def oversized(path: Path) -> list[str]:
    """What is too large in one file, a line each."""
    text = path.read_text(encoding="utf-8")
    found = []
    count = len(text.splitlines())
    if count > MAX_FILE:
        found.append(f"{path.relative_to(ROOT)}: {count} lines, at most {MAX_FILE}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                found.append(f"{where}: {node.name} has {length} lines, at most {MAX_FUNCTION}")
    return found


def main() -> int:
    """Print every offence; the exit status says whether there is one."""
    # A migration is a list of tables as they were on a day; splitting it would not make it clearer.
    files = [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.parent.name != "versions"
    ]
    offences = [line for path in files for line in oversized(path)]
    print("\n".join(offences) or f"sizes: {len(files)} files are within their ceilings")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
