"""An answer of a model that lacks something: prompted for, checked, and repaired at most once."""

from typing import Any

from signalbox.common.ids import new_id
from signalbox.llm_gateway.attempts.whole import Providers
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.completion import Completion
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.emulation import PromptedCall, WrongAnswer
from signalbox.llm_gateway.errors import AnswerInvalid, ProviderBroke
from signalbox.llm_gateway.protocol import RequestBody, Tokens


async def emulated(
    providers: Providers, call: Call, deployment: Deployment, model: str, lacks: frozenset[str]
) -> Completion:
    """The answer of ``deployment`` as ``model``, which lacks ``lacks``.

    Raises:
        AnswerInvalid: it did not do as prompted, also not when told what was wrong.
        MalformedCall: a schema of the request cannot be used.
        What the provider's side fails with.
    """
    call.account.emulated = ",".join(sorted(lacks))
    json_mode = deployment.capabilities.json_mode is True and "json_mode" not in lacks
    sent = call.body.for_upstream(
        deployment.provider_model,
        ask_usage=False,
        # What is added to the prompt expects texts where marks would make them lists.
        extensions=deployment.extensions - {"cache_marks"},
        output_cap=call.output_cap,
    )
    prompted = PromptedCall(RequestBody.parse(sent), lacks, has_json_mode=json_mode)
    failed: tuple[str, str] | None = None
    tokens = Tokens()
    for _ in range(2):
        sent = prompted.request(deployment.provider_model, failed)
        _, parsed = await providers.whole(call, deployment, sent)
        usage = parsed.get("usage")
        tokens += (Tokens.reported(usage) if isinstance(usage, dict) else None) or Tokens()
        message = _message(parsed, deployment)
        try:
            read = prompted.read(message)
        except WrongAnswer as error:
            failed = (str(message.get("content") or ""), str(error))
            continue
        return Completion(new_id("chatcmpl"), model, read, tokens)
    reason = failed[1] if failed else ""
    raise AnswerInvalid(
        f"The model '{model}' lacks {' and '.join(sorted(lacks))} and did not do as prompted "
        f"({reason}) Use a model that has it."
    )


def _message(parsed: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    choices = parsed.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        raise ProviderBroke(f"'{deployment.name}' answered without a message.")
    return message
