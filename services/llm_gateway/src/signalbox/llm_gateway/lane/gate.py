"""Which requests the lane takes, as far as their heads say."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from signalbox.common.auth import Authenticator
from signalbox.common.errors import Unauthenticated
from signalbox.common.web.hosts import OwnHosts
from signalbox.common.web.request_head import whole_number
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.front import caller_of

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""


class Passed(NamedTuple):
    """The head of a request that the lane takes."""

    principal: Principal
    headers: Mapping[str, str]
    caller: Caller | None
    """Who calls, where that is the same for each call with this head; one with a deadline has its own."""


class Gate:
    """Lets requests pass that nothing speaks against; ``hosts`` are the names that they may be for (None: any)."""

    def __init__(self, authenticator: Authenticator, max_body_bytes: int, hosts: OwnHosts | None) -> None:
        self._authenticator = authenticator
        self.max_body_bytes = max_body_bytes
        self._hosts = hosts

    def pass_on(self, raw: RawHeaders) -> Passed | None:
        """The head as the lane needs it; None: the request is not the lane's."""
        # Of headers that come twice the first counts, as it does everywhere else.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(raw)}
        length = whole_number(headers.get("content-length"))
        if length is None or length > self.max_body_bytes:
            return None
        if names.TIMEOUT_MS in headers and whole_number(headers[names.TIMEOUT_MS]) is None:
            return None
        if self._hosts is not None and (
            self._hosts.stranger(headers.get("host", "")) is not None
            or self._hosts.foreign(headers.get("origin", ""))
        ):
            return None
        return self._admitted(headers)

    def pass_again(self, passed: Passed) -> Passed | None:
        """A head that differs from one which has passed in the length of its body only; credentials come to an end."""
        return self._admitted(passed.headers, passed)

    def _admitted(self, headers: Mapping[str, str], before: Passed | None = None) -> Passed | None:
        try:
            principal = self._authenticator.authenticate(headers)
            if before is not None and principal is before.principal:
                return before
            if not (principal.may(Scope.LLM) or principal.may(Scope.SERVICE)):
                return None
            caller = None if names.TIMEOUT_MS in headers else caller_of(headers, principal)
        except (Unauthenticated, MalformedCall):
            return None
        return Passed(principal, headers, caller)
