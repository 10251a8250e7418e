"""Errors of the Skills service."""

from signalbox.common.errors import NotFound, SignalboxError


class UnknownSkill(NotFound):
    """The workflow has no such skill."""

    code = "unknown_skill"

    def __init__(self, skill: str) -> None:
        super().__init__(f"The workflow has no skill '{skill}'.")


class ModelUnavailable(SignalboxError):
    """No model plays the role, or the gateway cannot reach the one that does."""

    code = "model_unavailable"
    status = 503


class ModelRefused(SignalboxError):
    """The model's provider does not take this request."""

    code = "model_refused"
    status = 502


class OutOfTime(SignalboxError):
    """The run's time is used up; ``reason`` is ``deadline`` or ``budget``."""

    code = "out_of_time"
    status = 504

    def __init__(self, reason: str) -> None:
        super().__init__("The run has no time left.")
        self.reason = reason
