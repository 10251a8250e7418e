"""What ``signalbox init`` writes."""

from pathlib import Path

import orjson

from signalbox.common.errors import Conflict
from signalbox.contracts.workflow_config import config_json_schema

_WORKFLOW = """\
# yaml-language-server: $schema=./workflow.schema.json
workflow_id: {workflow_id}
name: {name}
languages: [en]
greeting: Hello, I am {name}.

intents:
  - id: opening_hours
    description: The user asks when we are open.
    when:
      patterns: ['\\b(open|opening hours|when .* close)\\b']
      examples: [When are you open?, What are your opening hours?]
    then:
      reply: We are open from 9 to 17, Monday to Friday.

  - id: book_visit
    description: The user wants to book a visit.
    when:
      patterns: ['\\bbook\\b.*\\bvisit\\b', '\\bappointment\\b']
    then:
      flow: book_visit

  - id: talk_to_human
    description: The user wants to talk to a person.
    when:
      keywords: [human, agent, person]
    then:
      action: handoff

flows:
  - id: book_visit
    description: Asks for a day and a name, and repeats them.
    slots:
      - id: day
        type: date
        prompt: Which day would suit you?
      - id: name
        type: text
        prompt: What is your name?
    steps:
      - type: ask
        slot: day
      - type: ask
        slot: name
      - type: confirm
        prompt: "A visit on {{{{ slots.day }}}} for {{{{ slots.name }}}}: shall I note it?"
      - type: reply
        text: "Noted: {{{{ slots.day }}}}, {{{{ slots.name }}}}. See you then!"

actions:
  - id: handoff
    type: handoff
    reply: A colleague will be with you shortly.

policies:
  fallback:
    reply: I can tell you our opening hours or book a visit.
"""

_DIALOGUES = """\
# Each dialogue is one session: what the user says, and what must come back (status: success where none is given).
dialogues:
  - id: opening_hours
    turns:
      - user: When are you open?
        intent: opening_hours
        reply_contains: [from 9 to 17]
  - id: a_visit
    turns:
      - user: I want to book a visit
        intent: book_visit
        status: waiting
        reply_contains: [Which day]
      - user: "2027-03-01"
        status: waiting
        reply_contains: [your name]
      - user: Kim
        status: waiting
        reply_contains: [2027-03-01 for Kim]
      - user: "yes"
        reply_contains: [See you then]
"""

_README = """\
# {name}

A Signalbox workflow.

    signalbox validate workflow.yaml     # all that is wrong, at once
    signalbox up .                       # serves it on http://127.0.0.1:8000; saving the file publishes it
    signalbox ask "When are you open?"
    signalbox test dialogues.yaml        # plays the dialogues against the running workflow

`workflow.schema.json` gives completion and checks in editors that understand YAML schemas.
"""


def write_project(directory: Path) -> list[Path]:
    """Write a small workflow project and return the files written.

    Raises:
        Conflict: the directory has files in it; nothing is written.
    """
    if directory.exists() and any(directory.iterdir()):
        raise Conflict(f"{directory} is not empty; name a new directory.")
    directory.mkdir(parents=True, exist_ok=True)
    name = directory.resolve().name
    workflow_id = "".join(char if char.isalnum() else "_" for char in name).strip("_") or "assistant"
    if not (workflow_id[0].isascii() and workflow_id[0].isalpha()) or not workflow_id.isascii():
        workflow_id = "assistant"
    files = {
        "workflow.yaml": _WORKFLOW.format(workflow_id=workflow_id, name=name),
        "dialogues.yaml": _DIALOGUES,
        "README.md": _README.format(name=name),
        "workflow.schema.json": orjson.dumps(config_json_schema(), option=orjson.OPT_INDENT_2).decode(),
    }
    for filename, content in files.items():
        (directory / filename).write_text(content, encoding="utf-8")
    return [directory / filename for filename in files]
