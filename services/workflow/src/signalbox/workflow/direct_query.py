"""``POST /api/v1/query`` without FastAPI: the one route whose every microsecond counts (case R of the design)."""

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from signalbox.common.auth import Authenticator, permitted
from signalbox.common.web.direct import NotDirect, answer_json, joined, json_body
from signalbox.common.web.middleware import HEADERS
from signalbox.contracts.identity import Scope as Permission
from signalbox.contracts.query import QueryRequest
from signalbox.workflow.queries import QueryService

_IDEMPOTENCY_KEY = "idempotency-key"
_LONGEST_KEY = 255


class DirectQuery:
    """Answers a message whose request is as it should be; leaves every other to the route."""

    def __init__(self, queries: QueryService, authenticator: Authenticator) -> None:
        self._queries = queries
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            NotDirect: the request is not as it should be; nothing was done.
            SignalboxError: nothing was committed.
        """
        headers: dict[str, str] = scope[HEADERS]
        idempotency_key = headers.get(_IDEMPOTENCY_KEY)
        if idempotency_key is not None and not 0 < len(idempotency_key) <= _LONGEST_KEY:
            raise NotDirect([])
        messages = await json_body(scope, receive)
        try:
            asked = QueryRequest.model_validate_json(joined(messages))
        except ValidationError:
            raise NotDirect(messages) from None
        principal = permitted(self._authenticator.authenticate(headers), Permission.QUERY)
        reply = await self._queries.answer(principal, asked, idempotency_key)
        await answer_json(send, reply.model_dump_json().encode())
