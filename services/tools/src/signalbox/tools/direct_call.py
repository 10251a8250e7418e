"""``POST /internal/v1/tools/call`` without FastAPI, which took as long as everything else that a call needs."""

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from signalbox.common.auth import Authenticator, check_context, permitted
from signalbox.common.web.direct import NotDirect, answer_json, joined, json_body
from signalbox.common.web.middleware import HEADERS
from signalbox.contracts.identity import Scope as Permission
from signalbox.contracts.work import ToolCallRequest
from signalbox.tools.service import ToolCalls


class DirectCall:
    """Makes a tool call that is asked for as it should be; leaves every other request to the route."""

    def __init__(self, calls: ToolCalls, authenticator: Authenticator) -> None:
        self._calls = calls
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            NotDirect: the request is not as it should be; nothing was done.
            SignalboxError: no tool was called.
        """
        messages = await json_body(scope, receive)
        try:
            asked = ToolCallRequest.model_validate_json(joined(messages))
        except ValidationError:
            raise NotDirect(messages) from None
        principal = permitted(self._authenticator.authenticate(scope[HEADERS]), Permission.SERVICE)
        check_context(asked.context, principal)
        reply = await self._calls.call(asked)
        await answer_json(send, reply.model_dump_json().encode())
