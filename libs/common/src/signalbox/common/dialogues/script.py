"""The form of a file of dialogues. What is not given is not checked."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from signalbox.common.errors import NotFound, ValidationFailed
from signalbox.contracts.base import Identifier, LanguageTag, PublicRequest
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.query import QueryStatus, Stage


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    return pattern


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Words = Annotated[list[str], BeforeValidator(_listed)]
"""One text, or several."""

Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression of Python, looked for anywhere; ``.`` is any character, a line break too."""


class Repeated(PublicRequest):
    """A long message, written short."""

    repeat: str = Field(min_length=1)
    times: int = Field(ge=1, le=100_000)

    @property
    def text(self) -> str:
        """The message."""
        return self.repeat * self.times


class ExpectedCall(PublicRequest):
    """A call of a tool; of its arguments, and of the members of its result, those that are given are compared."""

    tool: str
    arguments: dict[str, Any] = {}
    result: dict[str, Any] | None = None
    ok: bool = True


class DialogueTurn(PublicRequest):
    """What happens (one of ``user``, ``choose`` and ``silence``), and what must come back."""

    user: str | Repeated | None = None
    """What the user writes."""
    choose: str | None = None
    """A choice of the last reply, by its label or value; its value is posted, as a client does for a click."""
    silence: float | None = Field(default=None, gt=0, le=86_400)
    """The user says nothing: the assistant must say something by itself within so many seconds."""
    new_session: bool = False
    """Begin another session of the same user before this turn."""
    skill: Identifier | None = None
    """The skill that the message addresses, past intents."""
    language: LanguageTag | None = None
    """Ask in this language from here on."""

    status: QueryStatus | None = None
    """None is ``success``, except after a silence and a refusal."""
    intent: str | None = None
    stage: Stage | None = None
    parameters: dict[str, Any] | None = None
    """What was read from the message: those that are given are compared."""
    slots: dict[str, Any] | None = None
    """Slots of the flow that is open after the turn: those that are given are compared; null is one without a value."""
    flow: str | None = None
    """The flow that is open after the turn; an empty text is none."""
    calls: list[ExpectedCall] | None = None
    """The calls of tools, all of them, in their order; an empty list is none."""
    greeting: str | None = None
    """The greeting before the reply; an empty text is none."""
    reply: str | None = None
    """The whole reply, the greeting left out."""
    reply_contains: Words = []
    """In the reply or in its greeting."""
    reply_lacks: Words = []
    reply_matches: Pattern | None = None
    choices: list[str] | None = None
    """The labels that are offered."""
    parts: list[dict[str, Any]] | None = None
    """Rich parts besides choices and citations, all of them in their order; of each, the members that are given."""
    citations: list[str] | None = None
    """Titles of the sources that are cited, all of them in their order; an empty list is none."""
    reply_language: LanguageTag | None = None
    reason: str | None = None
    """Why the reply is degraded or an error."""
    refused: str | None = None
    """The message is refused with this code; nothing is answered."""

    @model_validator(mode="after")
    def _one_act(self) -> "DialogueTurn":
        given = [name for name in ("user", "choose", "silence") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give one of user, choose and silence")
        return self

    @property
    def act(self) -> str:
        """What happens, for people; short."""
        if self.silence is not None:
            return f"silence of {self.silence:g} s"
        if self.choose is not None:
            return f"chooses {self.choose!r}"
        said = self.user.text if isinstance(self.user, Repeated) else self.user or ""
        return repr(said if len(said) <= 80 else f"{said[:60]}... ({len(said)} characters)")


class Dialogue(PublicRequest):
    """One conversation, in a session of its own."""

    id: str = Field(min_length=1)
    about: str = ""
    """What it shows, for people."""
    workflow: str | None = None
    """Workflow id; none is the one that the command names, else the tenant's."""
    language: LanguageTag | None = None
    """Every reply must be in this language, unless a turn says otherwise. The request does not ask for it."""
    metadata: dict[str, Any] = {}
    """What the client says of the conversation with every message, such as who has signed in."""
    timezone: str | None = Field(default=None, max_length=64)
    """The user's time zone (IANA), sent with every message."""
    turns: list[DialogueTurn] = Field(min_length=1)


class DialogueFile(PublicRequest):
    """A file of dialogues."""

    dialogues: list[Dialogue] = Field(min_length=1)


def read_dialogues(paths: Sequence[Path]) -> list[Dialogue]:
    """The dialogues of files and of the ``*.yaml`` files of folders, in the order of their names.

    Raises:
        NotFound: a file cannot be read.
        ValidationFailed: a file is not of this form, or an id is given twice.
    """
    from signalbox.common.documents import parse  # noqa: PLC0415 - only where files are read

    found: list[Dialogue] = []
    seen: dict[str, Path] = {}
    for path in paths:
        for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
            try:
                read = DialogueFile.model_validate(parse(file.read_bytes()))
            except OSError as error:
                raise NotFound(f"{file} cannot be read: {error.strerror}.") from error
            except ValidationError as error:
                raise ValidationFailed(f"{file} is no file of dialogues.", errors=_errors(error)) from error
            for dialogue in read.dialogues:
                if dialogue.id in seen:
                    raise ValidationFailed(
                        f"{file}: the id {dialogue.id!r} is in {seen[dialogue.id]} already."
                    )
                seen[dialogue.id] = file
            found += read.dialogues
    return found


def _errors(error: ValidationError) -> list[ProblemError]:
    return [
        ProblemError(
            pointer="".join(f"/{part}" for part in found["loc"]), code=found["type"], detail=found["msg"]
        )
        for found in error.errors()
    ]
