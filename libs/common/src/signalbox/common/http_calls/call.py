"""One request of a workflow config, ready to be carried out again and again."""

from collections.abc import Mapping
from typing import Any

from signalbox.common.http_calls.auth import masked
from signalbox.common.http_calls.rendering import RenderedRequest, render_request
from signalbox.common.http_calls.responses import CompiledMapping
from signalbox.common.templates import Templates
from signalbox.contracts.config import Auth, CircuitBreaker, HttpRequest, OAuth2Auth, ResponseMapping, Retry


class HttpCall:
    """A request template with auth, mapping, timeout and retries; whatever can be is compiled here.

    ``variables`` are the workflow's. ``write`` says that it may change something, ``repeatable`` that doing so twice
    does no harm. ``name`` is the operation that ``circuit`` is counted for; without rules nothing is counted.

    Raises:
        TemplateError: a template does not parse.
        BadExpression: a JMESPath expression does not parse.
    """

    def __init__(
        self,
        request: HttpRequest,
        templates: Templates,
        *,
        variables: Mapping[str, Any],
        auth: Auth | None,
        response: ResponseMapping,
        retry: Retry,
        timeout_ms: int,
        write: bool,
        repeatable: bool,
        name: str = "",
        circuit: CircuitBreaker | None = None,
    ) -> None:
        self._request = request
        self._templates = templates
        self.auth = _located(auth, templates, variables)
        self.mapping = CompiledMapping(response)
        self.attempts = retry.attempts
        self.repeatable = repeatable
        self.backoff_s = retry.backoff_ms / 1000
        self.timeout_s = timeout_ms / 1000
        self.write = write
        self.name = name
        self.circuit = circuit
        templates.check_url(request.url, name="request.url")
        for place, part in (("query", request.query), ("headers", request.headers), ("body", request.body)):
            _check(templates, part, f"request.{place}")

    def render(self, values: Mapping[str, Any]) -> RenderedRequest:
        """The request over values (``arguments``, ``vars``, ``context``), not authorised yet.

        Raises:
            CallFailed: ``invalid_arguments``.
        """
        return render_request(self._request, self._templates, values)

    def preview(self, request: RenderedRequest) -> dict[str, Any]:
        """The request as it would be sent, credentials masked."""
        return masked(request, self.auth).shown()


def _located(auth: Auth | None, templates: Templates, variables: Mapping[str, Any]) -> Auth | None:
    if not isinstance(auth, OAuth2Auth):
        return auth
    token_url = templates.render_url(auth.token_url, {"vars": variables}, name="auth.token_url")
    return auth.model_copy(update={"token_url": token_url})


def _check(templates: Templates, value: Any, name: str) -> None:
    if isinstance(value, str):
        templates.check(value, name=name)
    elif isinstance(value, Mapping):
        for item in value.values():
            _check(templates, item, name)
    elif isinstance(value, list):
        for item in value:
            _check(templates, item, name)
