"""HTTP from the command line to a running Signalbox."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.contracts.problem import Problem

Client = httpx.Client
"""What commands call a Signalbox with."""


class Refused(SignalboxError):
    """The server answered with a problem."""

    code = "refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.detail} [{problem.code}]", errors=problem.errors)
        self.problem_code = problem.code


def open_client(url: str, timeout_s: float = 60.0) -> httpx.Client:
    """A client of a running Signalbox, with the API key from ``SIGNALBOX_API_KEY`` if there is one."""
    key = os.environ.get("SIGNALBOX_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)


def call(client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
    """One call with a JSON answer.

    Raises:
        Unavailable: nothing answers at the URL.
        Refused: the server answered with a problem.
    """
    with reaching(client):
        response = client.request(method, path, json=body)
    raise_for_problem(response)
    return response.json()


@contextmanager
def reaching(client: httpx.Client) -> Iterator[None]:
    """Turn what goes wrong on the way into a sentence.

    Raises:
        Unavailable: nothing answers at the URL.
    """
    try:
        yield
    except httpx.HTTPError as error:
        raise Unavailable(
            f"No Signalbox answers at {client.base_url} ({error}); start one with 'make run' or 'signalbox up', "
            "or name another with --url."
        ) from error


def raise_for_problem(response: httpx.Response) -> None:
    """Raise what an error answer says.

    Raises:
        Refused: the server answered with a problem.
    """
    if response.status_code < 400:
        return
    response.read()
    try:
        problem = Problem.model_validate_json(response.content)
    except ValueError:
        problem = Problem(
            title="Unexpected answer",
            status=response.status_code,
            code="unexpected_answer",
            detail=f"{response.request.url} answered {response.status_code}.",
        )
    raise Refused(problem)
