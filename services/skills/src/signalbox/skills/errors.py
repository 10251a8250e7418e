"""Errors of the Skills service."""

from signalbox.common.errors import NotFound, SignalboxError
from signalbox.contracts.pauses import Pause


class UnknownSkill(NotFound):
    """The workflow has no such skill."""

    code = "unknown_skill"

    def __init__(self, skill: str) -> None:
        super().__init__(f"The workflow has no skill '{skill}'.")


class ModelUnavailable(SignalboxError):
    """No model plays the role, or the gateway cannot reach the one that does."""

    code = "model_unavailable"
    status = 503

    def __init__(self, detail: str, *, reason: str = "no_model", said: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        """The stable code of what is exhausted or does not answer."""
        self.said = said
        """Whether the user has heard a part of the answer."""


class ModelRefused(SignalboxError):
    """The model's provider does not take this request."""

    code = "model_refused"
    status = 502

    def __init__(self, detail: str, *, too_long: bool = False) -> None:
        super().__init__(detail)
        self.too_long = too_long
        """Whether the prompt is longer than the model reads."""


class OutOfTime(SignalboxError):
    """The run's time is used up; ``reason`` is ``deadline`` or ``budget``."""

    code = "out_of_time"
    status = 504

    def __init__(self, reason: str) -> None:
        super().__init__("The run has no time left.")
        self.reason = reason


class UnknownRun(NotFound):
    """There is no run of this id to go on with."""

    code = "unknown_run"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"There is no run '{run_id}' to go on with; it may have been deleted with its session."
        )


class RunPaused(SignalboxError):
    """The run cannot go on before a person has said something."""

    code = "run_paused"
    status = 409

    def __init__(self, pause: Pause) -> None:
        super().__init__(f"The run waits for the {pause.by}: {pause.reason}.")
        self.pause = pause
