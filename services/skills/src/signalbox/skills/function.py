"""Function mode: one call, its input and output checked, its reply rendered."""

from typing import Any

from signalbox.common.arguments import Validator, check
from signalbox.common.functions import FunctionCall
from signalbox.common.http_calls import CallFailed
from signalbox.common.templates import TemplateError
from signalbox.contracts.work import SkillResult, SkillRunRequest
from signalbox.skills import messages
from signalbox.skills.book import CompiledFunction, SkillBook
from signalbox.skills.ports import HttpCalls

_MAX_NAMED = 5


async def run_function(
    book: SkillBook, function: CompiledFunction, request: SkillRunRequest, http: HttpCalls
) -> SkillResult:
    """Call the function; a call that fails is a failed result, with the code of its error as the reason."""
    try:
        _require(
            function.input,
            request.arguments,
            "invalid_arguments",
            "The arguments do not fit the skill's input",
        )
        output = await _call(book, function, request, http)
        if function.output is not None:
            _require(
                function.output, output, "bad_response", "The answer does not fit the skill's output schema"
            )
    except CallFailed as failure:
        return _failed(book, request, failure.error.code)
    return told(book, function, request, output)


def told(book: SkillBook, function: CompiledFunction, request: SkillRunRequest, output: Any) -> SkillResult:
    """The result of a function that gave ``output``."""
    try:
        message = book.reply_of(function.skill, request, output)
    except TemplateError as error:
        return _failed(book, request, error.code)
    if not message:
        message = book.text(messages.DONE, request.context, {})
    return SkillResult(status="completed", message=message, output=output, steps=1)


async def _call(
    book: SkillBook, function: CompiledFunction, request: SkillRunRequest, http: HttpCalls
) -> Any:
    source = function.source
    if isinstance(source, str):
        raise CallFailed("refused", source)
    if isinstance(source, FunctionCall):
        return await source.execute(request.arguments, request.context, f"{request.run_id}/1")
    rendered = source.render(book.values(request))
    result = await http.execute(
        source, rendered, tenant=request.context.tenant, idempotency_key=f"{request.run_id}/1"
    )
    return result.output


def _require(validator: Validator, value: Any, code: Any, what: str) -> None:
    problems = check(validator, value)
    if problems:
        named = "; ".join(f"{item.pointer or '/'}: {item.detail}" for item in problems[:_MAX_NAMED])
        raise CallFailed(code, f"{what}: {named}", pointer=problems[0].pointer)


def _failed(book: SkillBook, request: SkillRunRequest, reason: str) -> SkillResult:
    return SkillResult(
        status="failed", message=book.text(messages.SORRY, request.context, {}), reason=reason, steps=1
    )
