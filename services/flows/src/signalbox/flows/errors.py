"""Errors of the Flows service, and how a step fails."""

from signalbox.common.errors import Conflict, NotFound


class UnknownFlow(NotFound):
    """The workflow has no such flow."""

    code = "unknown_flow"

    def __init__(self, flow: str) -> None:
        super().__init__(f"The workflow has no flow '{flow}'.")


class FlowStateInvalid(Conflict):
    """The state that came with the message does not fit the flow in this snapshot."""

    code = "flow_state_invalid"

    def __init__(self, flow: str) -> None:
        super().__init__(f"The state does not fit flow '{flow}' of this snapshot; start the flow again.")


class StepFailed(Exception):
    """A step did not do its work; ``on_error`` of the step or the flow says what happens then.

    ``code`` is stable: ``too_many_attempts``, ``no_prompt``, ``template_error``, ``bad_part``, ``subflow_failed``,
    ``subflow_too_deep``, or that of a tool's error.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code
