"""Which responses are kept, for whom and for how long, and what continues them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson

from signalbox.common.errors import Unavailable
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.errors import PreviousNotFound, ResponseNotFound
from signalbox.llm_gateway.responses.records import ResponseKey, StoredResponse
from signalbox.llm_gateway.responses.repository import ResponseRepository
from signalbox.llm_gateway.responses.request import ResponsesRequest

Json = dict[str, Any]

_LOG = logging.getLogger(__name__)

MAX_RESPONSES = 1000
"""Responses that one conversation may have."""

_KEEP_S = 2.0
_DAY_MS = 86_400_000
_CONTINUED = frozenset({"completed", "incomplete"})


def key_of(principal: Principal, response_id: str) -> ResponseKey:
    """The key of a response of the principal's."""
    return ResponseKey(principal.tenant, principal.subject, response_id)


class KeptResponses:
    """Responses of all callers, each its own.

    ``clock`` gives epoch milliseconds; a conversation may have ``max_size`` characters.
    """

    def __init__(
        self, repository: ResponseRepository, *, kept_days: int, max_size: int, clock: Callable[[], int]
    ) -> None:
        self._repository = repository
        self._kept_ms = kept_days * _DAY_MS
        self._max_size = max_size
        self._clock = clock

    async def find(self, key: ResponseKey) -> StoredResponse:
        """A response.

        Raises:
            ResponseNotFound: there is none, or it is another's, or it has expired.
        """
        stored = await self._repository.find(key, self._clock())
        if stored is None:
            raise not_found(key)
        return stored

    async def conversation(self, principal: Principal, request: ResponsesRequest) -> list[Json]:
        """The items of the conversation that a request continues, oldest first; none when it begins one.

        Raises:
            PreviousNotFound: a part of it is not there any more, or it is too long, or its last response has no answer.
        """
        previous = request.previous_response_id
        if previous is None:
            return []
        chain = await self._repository.conversation(
            key_of(principal, previous), self._clock(), max_responses=MAX_RESPONSES, max_size=self._max_size
        )
        if not chain:
            raise PreviousNotFound(
                f"There is no response '{previous}'; it may have been created with store: false, deleted or expired."
            )
        if chain[-1].status not in _CONTINUED:
            raise PreviousNotFound(
                f"The response '{previous}' is {chain[-1].status.replace('_', ' ')}; only one with an answer can be"
                " continued."
            )
        if chain[0].previous_response_id is not None:
            raise PreviousNotFound(
                f"The conversation of '{previous}' is not whole: its beginning was deleted, has expired, or is too long"
                " for one request. Send the items that matter as input."
            )
        return [item for stored in chain for item in (*stored.items(), *stored.body()["output"])]

    def record(
        self, principal: Principal, request: ResponsesRequest, response: Json, owner: str | None = None
    ) -> StoredResponse:
        """The row of a response that is made now."""
        now = self._clock()
        return StoredResponse(
            tenant=principal.tenant,
            response_id=response["id"],
            subject=principal.subject,
            status=response["status"],
            background=int(request.background),
            previous_response_id=request.previous_response_id,
            input=orjson.dumps(request.items).decode(),
            response=orjson.dumps(response).decode(),
            owner=owner,
            heartbeat_at=now,
            created_at=now,
            expires_at=now + self._kept_ms,
        )

    async def keep(self, principal: Principal, request: ResponsesRequest, response: Json) -> Json:
        """Keep a response that is over, when its caller wants it kept; gives it as it is to be answered.

        An answer is not thrown away because the database is: without it, the response says ``store: false``.
        """
        if not request.store:
            return response
        try:
            async with asyncio.timeout(_KEEP_S):
                await self._repository.add(self.record(principal, request, response))
        except (Unavailable, TimeoutError):
            _LOG.warning("a response is answered without being kept: the database is away")
            return {**response, "store": False}
        return response


def not_found(key: ResponseKey) -> ResponseNotFound:
    """The error that says so."""
    return ResponseNotFound(
        f"There is no response '{key.response_id}'; it may have been created with store: false, deleted or expired."
    )
