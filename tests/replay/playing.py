"""Playing recordings through a running Signalbox, and judging what came of each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from replay.backend import RetailBackend
from replay.provider import Heard, RecordedModel, reply_of
from replay.recordings import Call, Recording, same_json
from replay.shop import Refused, Shop
from signalbox.common.documents import parse

WORKFLOW = Path(__file__).with_name("workflow.yaml")
SKILL = "agent"
TURN_S = 60.0


@dataclass
class Played:
    """What came of one conversation. It passes where there is no problem."""

    recording: Recording
    problems: list[str] = field(default_factory=list)
    reads: tuple[int, int] = (0, 0)
    """Results before the first write: as recorded, and in all."""
    results: tuple[int, int] = (0, 0)
    """All results."""
    writes: tuple[int, int] = (0, 0)
    """Writes made once, and in all."""
    right_end: bool | None = None
    """Whether the database is in the end as the recording's judge found it: as the task wanted, or not."""
    later: list[str] = field(default_factory=list)
    """Results after the first write that are not as recorded; they do not count."""


def documents(recordings: Iterable[Recording], shop_url: str) -> dict[tuple[str | None, str], dict[str, Any]]:
    """The workflows to publish, by greeting and policy: each opening greeting is configuration."""
    found: dict[tuple[str | None, str], dict[str, Any]] = {}
    for recording in recordings:
        key = (recording.greeting, recording.policy)
        if key not in found:
            document = parse(WORKFLOW.read_bytes())
            document |= {"workflow_id": f"retail_{len(found) + 1}", "variables": {"shop": shop_url}}
            if recording.greeting:
                document["greeting"] = recording.greeting
            if recording.policy:
                document["skills"][0]["instructions"] = recording.policy
            found[key] = document
    return found


def writing_tools() -> frozenset[str]:
    """The tools that change something, as the workflow declares them."""
    document = parse(WORKFLOW.read_bytes())
    return frozenset(tool["id"] for tool in document["tools"] if tool.get("effect") == "write")


class Stage:
    """Where recordings are played: a system by its URL, with the model and the shop behind it."""

    def __init__(
        self,
        url: str,
        model: RecordedModel,
        backend: RetailBackend,
        data: Mapping[str, Any],
        workflows: Mapping[tuple[str | None, str], Mapping[str, Any]],
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=TURN_S, trust_env=False)
        self._model = model
        self._backend = backend
        self._data = data
        self._workflows = workflows
        self._writing = writing_tools()

    def play_all(self, recordings: Sequence[Recording], at_once: int) -> Iterator[Played]:
        """Play all, some at once; those that begin alike one after another, for the model tells them by that."""
        groups: dict[str, list[Recording]] = defaultdict(list)
        for recording in recordings:
            groups[recording.turns[0].user].append(recording)
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            for played in pool.map(lambda group: [self.play(one) for one in group], groups.values()):
                yield from played

    def play(self, recording: Recording) -> Played:
        """Play one recording in a session of its own, and judge it."""
        session, heard = f"replay-{uuid4().hex}", self._model.begin(recording)
        played = Played(recording)
        try:
            self._ask_all(recording, session, played)
        finally:
            self._model.end(recording)
        played.problems += heard.differences
        self._judge_results(played, heard)
        self._judge_writes(played, session)
        played.right_end = self._judge_end(recording, session)
        return played

    def _ask_all(self, recording: Recording, session: str, played: Played) -> None:
        workflow = self._workflows[recording.greeting, recording.policy]["workflow_id"]
        for number, turn in enumerate(recording.turns, 1):
            body = {"message": turn.user, "session_id": session, "workflow_id": workflow, "skill": SKILL}
            try:
                response = self._client.post("/api/v1/query", json=body)
            except httpx.HTTPError as error:
                played.problems.append(f"turn {number}: {error!r}")
                return
            reply = response.json()
            if response.status_code != 200 or reply["status"] != "success":
                said = (
                    reply.get("detail")
                    or f"{reply.get('status')}, {reply.get('reason')}: {reply.get('message')}"
                )
                played.problems.append(f"turn {number}: HTTP {response.status_code}: {said}")
                return
            if reply["message"] != reply_of(recording, turn, greeted=number > 1):
                played.problems.append(f"turn {number}: the user was told {reply['message']!r}")

    def _judge_results(self, played: Played, heard: Heard) -> None:
        """Each result that the model was told against the recorded one."""
        before_first_write, counts = True, [0, 0, 0, 0]
        for call in played.recording.calls():
            before_first_write = before_first_write and call.tool not in self._writing
            if not call.answered:
                continue
            told = heard.results.get(call.place, "nothing")
            same = call.place in heard.results and same_json(told, call.result)
            counts[0 if before_first_write else 2] += same
            counts[1 if before_first_write else 3] += 1
            if not same:
                words = f"{call.tool}({call.arguments}) gave {told!r} for {call.result!r}"
                (played.problems if before_first_write else played.later).append(words)
        played.reads = (counts[0], counts[1])
        played.results = (counts[0] + counts[2], counts[1] + counts[3])

    def _judge_writes(self, played: Played, session: str) -> None:
        """What reached the shop: each write of the model once, in its order, made or refused as it was then."""
        wanted = [call for call in played.recording.calls() if call.tool in self._writing]
        came = self._backend.writes(session)
        made_once = 0
        for call, write in zip(wanted, came, strict=False):
            same = (write.tool, write.arguments) == (call.tool, call.arguments)
            once = same and not write.repeated and write.done != call.failed
            made_once += once
            if not once:
                played.problems.append(f"the shop got {write} for {_words(call)}")
        if len(came) != len(wanted):
            played.problems.append(f"the shop got {len(came)} writes for {len(wanted)}")
        if len({write.key for write in came}) != len(came):
            played.problems.append("writes share an idempotency key")
        played.writes = (made_once, len(wanted))

    def _judge_end(self, recording: Recording, session: str) -> bool | None:
        if recording.right_end is None:
            return None
        wanted = Shop(self._data)
        for tool, arguments in recording.expected:
            try:
                wanted.call(tool, arguments)
            except Refused:
                continue
        return bool((wanted.changes() == self._backend.changes(session)) == recording.right_end)


def _words(call: Call) -> str:
    return f"{call.tool}({call.arguments}), which {'was refused' if call.failed else 'was made'}"
