"""The process that trains: intents as JSON on stdin; on stdout a line of JSON, then the classifiers' bytes.

``python -m signalbox.workflow.examples.worker``; it imports numpy and this package, nothing of the service, and what
an encoder needs where one is named. The line lists the classifiers: name, number of bytes, report.
"""

import json
import os
import sys
from pathlib import Path
from typing import Final

from signalbox.workflow.examples.encoder import Encoder, EncoderUnusable
from signalbox.workflow.examples.given import GivenVectors
from signalbox.workflow.examples.training import IntentExamples, Trained, train

_NICE: Final = 10
_MANY: Final = 500
"""From so many examples on it takes seconds. With fewer somebody waits for a start, and it is over at once."""


def main() -> None:
    """Train by words, and once more with vectors or an encoder where there are any; give way if it takes long."""
    given = json.load(sys.stdin.buffer)
    if sum(len(entry["examples"]) for entry in given["intents"]) > _MANY:
        os.nice(_NICE)
    intents = [
        IntentExamples(entry["id"], tuple(entry["examples"]), entry["description"])
        for entry in given["intents"]
    ]
    trained: dict[str, Trained] = {"examples": train(intents)}
    if given["vectors"] is not None:
        trained["examples-encoded"] = train(intents, GivenVectors(given["vectors"]))
    elif given["encoder"] is not None:
        try:
            encoder = Encoder(Path(given["encoder"]))
        except EncoderUnusable as error:
            sys.exit(str(error))
        trained["examples-encoded"] = train(intents, encoder)
    parts = {name: one.classifier.serialise() for name, one in trained.items()}
    heads = [
        {"name": name, "bytes": len(data), "report": trained[name].report.as_json()}
        for name, data in parts.items()
    ]
    sys.stdout.buffer.write(json.dumps(heads, ensure_ascii=False).encode() + b"\n" + b"".join(parts.values()))


if __name__ == "__main__":
    main()
