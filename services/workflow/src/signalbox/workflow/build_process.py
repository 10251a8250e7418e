"""The process that compiles many rules: columns of a RuleTable, as JSON, on stdin, BuiltRules on stdout.

``python -m signalbox.workflow.build_process MEMORY [--without-database]``; ``MEMORY``, in bytes, is what the rules may
take. It gives way to whatever serves, and has some 2 ms of CPU to spend on each rule.
"""

import os
import sys

import orjson

from signalbox.common.rules.table import RuleTable
from signalbox.workflow.compiled_rules import build_database, build_rules

WITHOUT_DATABASE = "--without-database"
"""Leaves the rules to RE2."""

_GIVES_WAY = 10
"""A tenth of a core beside one process that wants all of it. At the lowest priority, a 70th, a publish took 7 s on a
machine that was busy, where half a second of work is to be done."""


def main() -> None:
    """Build the rules of one snapshot."""
    os.nice(_GIVES_WAY)
    memory, *options = sys.argv[1:]
    rules = RuleTable(orjson.loads(sys.stdin.buffer.read())).rules()
    build = build_rules if WITHOUT_DATABASE in options else build_database
    sys.stdout.buffer.write(build(rules, int(memory)).to_bytes())


if __name__ == "__main__":
    main()
