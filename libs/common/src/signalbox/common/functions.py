"""Functions that an installed distribution registers by entry point, called within limits."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from signalbox.common.context import current_deadline
from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.http_calls.errors import CallFailed
from signalbox.common.installed import registered
from signalbox.contracts.context import CallContext

TOOLS_GROUP = "signalbox.tools"
SKILLS_GROUP = "signalbox.functions"
_LOG = logging.getLogger(__name__)

RegisteredFunction = Callable[..., Any | Awaitable[Any]]
"""Arguments and the turn's context (``CallContext``) to JSON data.

One that is not a coroutine function runs in a thread. One with a parameter ``idempotency_key`` is given the key of the
call, the same when a call is repeated.
"""
_KEY_PARAMETER = "idempotency_key"


def installed_functions(group: str) -> dict[str, RegisteredFunction]:
    """The functions of an entry point group by name; one that cannot be imported is left out and logged."""
    functions: dict[str, RegisteredFunction] = {}
    for point in registered(group):
        try:
            functions[point.name] = point.load()
        except Exception:  # noqa: BLE001 - logged with its traceback
            _LOG.exception("cannot load a registered function", extra={"function": point.name})
    return functions


class FunctionCall:
    """One function with the limits that its tool or skill declares."""

    def __init__(
        self, function: RegisteredFunction, *, timeout_s: float, max_bytes: int, write: bool
    ) -> None:
        self._function = function
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._write = write
        self._takes_key = _takes_key(function)

    async def execute(self, arguments: Mapping[str, Any], context: CallContext, idempotency_key: str) -> Any:
        """What the function returns, as JSON data.

        Raises:
            CallFailed: it raised, took too long, or returned too much or something that is not data.
        """
        try:
            async with asyncio.timeout(min(self._timeout_s, current_deadline().check("a function"))):
                output = await self._run(arguments, context, idempotency_key)
        except DeadlineExceeded as error:
            raise CallFailed("timeout", error.detail) from error
        except TimeoutError as error:
            detail = f"The function did not return within {self._timeout_s:g} s."
            raise CallFailed("unknown_outcome" if self._write else "timeout", detail) from error
        except SignalboxError as error:
            raise CallFailed("upstream_error", error.detail) from error
        except Exception as error:
            # Its message may hold anything, secrets too; the traceback is for operators.
            _LOG.exception("a registered function raised")
            raise CallFailed("upstream_error", f"The function raised {type(error).__name__}.") from error
        return self._as_data(output)

    async def _run(self, arguments: Mapping[str, Any], context: CallContext, idempotency_key: str) -> Any:
        more = {_KEY_PARAMETER: idempotency_key} if self._takes_key else {}
        if inspect.iscoroutinefunction(self._function):
            return await self._function(arguments, context, **more)
        output = await asyncio.to_thread(self._function, arguments, context, **more)
        return await output if inspect.isawaitable(output) else output

    def _as_data(self, output: Any) -> Any:
        try:
            content = orjson.dumps(output)
        except TypeError as error:
            raise CallFailed(
                "bad_response", "The function returned something that is not JSON data."
            ) from error
        if len(content) > self._max_bytes:
            raise CallFailed("too_large", f"The function returned more than {self._max_bytes} bytes.")
        return orjson.loads(content)


def _takes_key(function: RegisteredFunction) -> bool:
    try:
        return _KEY_PARAMETER in inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, without a signature
        return False
