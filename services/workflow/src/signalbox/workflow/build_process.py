"""The process that builds large snapshots: a BuildRequest on stdin, its BuildReply on stdout.

``python -m signalbox.workflow.build_process MEMORY [--without-database]``; ``MEMORY``, in bytes, is what the rules may
take. It has the lowest priority, and some 2 ms of CPU to spend on each rule.
"""

import os
import sys

from signalbox.common.rules import DatabaseUnusable
from signalbox.common.rules.hyperscan_engine import HyperscanEngine
from signalbox.common.rules.hyperscan_rules import hyperscan_builder
from signalbox.common.validation import load_snapshot
from signalbox.contracts.admin import BuildReply, BuildRequest
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.build import NO_DATABASE, WITHOUT_DATABASE, build_rules, rules_artefact
from signalbox.workflow.matching.rule_matcher import rules_of

_LOWEST_PRIORITY = 19


def with_database(config: WorkflowConfig, memory: int, reply: BuildReply) -> BuildReply:
    """The same reply with a database in place of the bare rules, or with a warning that says why there is none."""
    try:
        compiled = HyperscanEngine(memory).compile(rules_of(config.intents))
    except DatabaseUnusable as error:
        detail = f"RE2 matches the rules, which is slower: they have no database. {error}"
        warning = ProblemError(pointer="/intents", code=NO_DATABASE, detail=detail)
        return reply.model_copy(update={"warnings": [*reply.warnings, warning]})
    return reply.model_copy(update={"artefacts": [rules_artefact(compiled, hyperscan_builder())]})


def main() -> None:
    """Build one snapshot."""
    os.nice(_LOWEST_PRIORITY)
    memory, *options = sys.argv[1:]
    request = BuildRequest.model_validate_json(sys.stdin.buffer.read())
    config = load_snapshot(request.document.encode())
    reply = build_rules(config, int(memory))
    if not reply.errors and WITHOUT_DATABASE not in options:
        reply = with_database(config, int(memory), reply)
    sys.stdout.buffer.write(reply.model_dump_json().encode())


if __name__ == "__main__":
    main()
