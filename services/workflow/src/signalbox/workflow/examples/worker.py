"""The process that trains: intents as JSON on stdin; on stdout a line with the report, then the classifier.

``python -m signalbox.workflow.examples.worker``; it imports numpy and this package, nothing of the service.
"""

import json
import os
import sys
from typing import Final

from signalbox.workflow.examples.training import IntentExamples, train

_NICE: Final = 10


def main() -> None:
    """Train once, and give way to whoever serves meanwhile."""
    os.nice(_NICE)
    given = json.load(sys.stdin.buffer)
    intents = [
        IntentExamples(entry["id"], tuple(entry["examples"]), entry["description"])
        for entry in given["intents"]
    ]
    trained = train(intents)
    sys.stdout.buffer.write(json.dumps(trained.report.as_json(), ensure_ascii=False).encode() + b"\n")
    sys.stdout.buffer.write(trained.classifier.serialise())


if __name__ == "__main__":
    main()
