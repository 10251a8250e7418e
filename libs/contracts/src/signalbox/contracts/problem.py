"""Problem details for HTTP APIs, RFC 9457, with the members that Signalbox adds."""

from pydantic import Field

from signalbox.contracts.base import WireModel

PROBLEM_JSON = "application/problem+json"


class ProblemError(WireModel):
    """One of several errors in one request or document."""

    pointer: str = Field(description="RFC 6901 JSON pointer to the value that is wrong; empty for the whole.")
    code: str = Field(description="Stable, machine-readable name of the error.")
    detail: str = Field(description="One sentence that says what is wrong and what to do.")


class Problem(WireModel):
    """The body of every error answer of ours (media type ``application/problem+json``)."""

    type: str = Field(default="about:blank", description="URI reference of the kind of problem.")
    title: str
    status: int
    code: str = Field(description="Stable, machine-readable name of the error.")
    detail: str = Field(description="One sentence that says what is wrong and what to do.")
    instance: str | None = Field(default=None, description="Path of the request that failed.")
    request_id: str | None = None
    trace_id: str | None = None
    errors: list[ProblemError] = Field(default_factory=list)
