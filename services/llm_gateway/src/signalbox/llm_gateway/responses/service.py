"""What can be done with responses: created, read, followed, cancelled, deleted."""

from collections.abc import Callable
from typing import Any, Literal

import orjson

from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.errors import MalformedCall, NotInBackground, ProviderBroke
from signalbox.llm_gateway.responses.asking import Asking
from signalbox.llm_gateway.responses.background import BackgroundResponses
from signalbox.llm_gateway.responses.events import ResponseEvents
from signalbox.llm_gateway.responses.following import FollowedResponse
from signalbox.llm_gateway.responses.keeping import KeptResponses, key_of, not_found
from signalbox.llm_gateway.responses.repository import ResponseRepository
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.responses.resource import opened, response_id
from signalbox.llm_gateway.responses.stream import ResponseStream
from signalbox.llm_gateway.translation.estimates import estimated_input

Json = dict[str, Any]


@record
class Page:
    """Which items of a list: ``limit`` of them behind the one with the id ``after``."""

    limit: int
    order: Literal["asc", "desc"]
    after: str | None = None


class Responses:
    """The responses of all callers, each its own. ``clock`` gives epoch milliseconds."""

    def __init__(
        self,
        repository: ResponseRepository,
        kept: KeptResponses,
        asking: Asking,
        background: BackgroundResponses,
        clock: Callable[[], int],
    ) -> None:
        self._repository = repository
        self._kept = kept
        self._asking = asking
        self._background = background
        self._clock = clock

    async def create(
        self, request: ResponsesRequest, caller: Caller
    ) -> WholeAnswer | ResponseStream | FollowedResponse:
        """A response: whole, or streamed; one in the background as it is queued, or its events.

        Raises:
            PreviousNotFound: the conversation that it continues is not there.
            BackgroundFull: too many run in the background.
            SignalboxError: what ``ModelCalls.chat`` raises, before anything was answered.
        """
        context = await self._kept.conversation(caller.principal, request)
        if request.background:
            stored = await self._background.start(request, context, caller)
            if request.stream:
                return self._followed(caller.principal, stored.response_id, -1)
            return WholeAnswer(stored.response.encode(), {})
        prompt = request.chat([*context, *request.items], stream=request.stream).fields
        answer = await self._asking.ask(request, context, caller, stream=request.stream)
        if isinstance(answer, StreamedAnswer):
            return ResponseStream(answer, request, prompt, caller.principal, self._kept)
        response = _whole(answer, request, prompt)
        kept = await self._kept.keep(caller.principal, request, response)
        return WholeAnswer(orjson.dumps(kept), answer.headers)

    async def estimated_input(self, request: ResponsesRequest, principal: Principal) -> int:
        """Tokens of what a request would send to the model, estimated. Raises PreviousNotFound."""
        context = await self._kept.conversation(principal, request)
        return estimated_input(request.chat([*context, *request.items], stream=False).fields)

    async def retrieve(self, principal: Principal, identifier: str) -> Json:
        """A response as it is now. Raises ResponseNotFound."""
        return (await self._kept.find(key_of(principal, identifier))).body()

    async def follow(self, principal: Principal, identifier: str, after: int) -> FollowedResponse:
        """The events of a background response behind the number ``after``.

        Raises:
            ResponseNotFound: there is none.
            NotInBackground: it was not created in the background, so its events are not kept.
        """
        stored = await self._kept.find(key_of(principal, identifier))
        if not stored.background:
            raise NotInBackground(
                "Only the events of responses that were created with background: true are kept; read it without"
                " stream."
            )
        return self._followed(principal, identifier, after)

    async def cancel(self, principal: Principal, identifier: str) -> Json:
        """Cancel a background response; one that is over stays as it is, and is given as it is.

        Raises:
            ResponseNotFound: there is none.
            NotInBackground: it was not created in the background: leaving it cancels it.
        """
        key = key_of(principal, identifier)
        stored = await self._kept.find(key)
        if not stored.background:
            raise NotInBackground(
                "Only responses that were created with background: true can be cancelled; leave others to stop them."
            )
        if await self._repository.cancel(key, self._clock()):
            self._background.drop(identifier)
        return (await self._kept.find(key)).body()

    async def delete(self, principal: Principal, identifier: str) -> Json:
        """Delete a response, which stops it. Raises ResponseNotFound."""
        key = key_of(principal, identifier)
        if not await self._repository.delete(key, self._clock()):
            raise not_found(key)
        self._background.drop(identifier)
        return {"id": identifier, "object": "response", "deleted": True}

    async def input_items(self, principal: Principal, identifier: str, page: Page) -> Json:
        """A response's own input items, not those of what it continues.

        Raises:
            ResponseNotFound: there is none.
            MalformedCall: ``after`` is none of them.
        """
        items = (await self._kept.find(key_of(principal, identifier))).items()
        if page.order == "desc":
            items.reverse()
        if page.after is not None:
            places = [place for place, item in enumerate(items) if item["id"] == page.after]
            if not places:
                raise MalformedCall("'after' is the id of none of the items.", pointer="/after")
            items = items[places[0] + 1 :]
        shown = items[: page.limit]
        return {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(shown) < len(items),
        }

    def _followed(self, principal: Principal, identifier: str, after: int) -> FollowedResponse:
        key = key_of(principal, identifier)
        return FollowedResponse(key, after, self._repository, self._background, self._clock)


def _whole(answer: WholeAnswer, request: ResponsesRequest, prompt: Json) -> Json:
    """The response that a whole chat completion makes.

    Raises:
        ProviderBroke: the completion holds no message.
    """
    completion = orjson.loads(answer.body)
    if not completion.get("choices"):
        raise ProviderBroke("The provider answered without a message; try again, or another model.")
    identifier = response_id(answer.headers.get(names.LEDGER_CALL_ID, ""))
    events = ResponseEvents(opened(identifier, request, "in_progress"), request, prompt)
    for _ in (*events.chunk(completion), *events.end()):
        pass
    return events.response
