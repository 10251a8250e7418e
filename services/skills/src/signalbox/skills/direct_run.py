"""``POST /internal/v1/skills/run`` without FastAPI, for the requests that are as they should be."""

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from signalbox.common.auth import Authenticator, check_context, permitted
from signalbox.common.web import send_frames
from signalbox.common.web.direct import NotDirect, joined, json_body
from signalbox.common.web.middleware import HEADERS
from signalbox.contracts.identity import Scope as Permission
from signalbox.contracts.work import SkillRunRequest
from signalbox.skills.service import SkillRuns


class DirectRun:
    """Runs a skill that is asked for as it should be; leaves every other request to the route."""

    def __init__(self, runs: SkillRuns, authenticator: Authenticator) -> None:
        self._runs = runs
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with frames.

        Raises:
            NotDirect: the request is not as it should be; nothing was done.
            SignalboxError: the run cannot begin.
        """
        messages = await json_body(scope, receive)
        try:
            asked = SkillRunRequest.model_validate_json(joined(messages))
        except ValidationError:
            raise NotDirect(messages) from None
        principal = permitted(self._authenticator.authenticate(scope[HEADERS]), Permission.SERVICE)
        check_context(asked.context, principal)
        await send_frames(send, await self._runs.prepare(asked, principal))
