"""What a call may use at most, which is reserved before it is admitted.

Budgets need a bound and limits of tokens an estimate, as those are settled to what was used: a token is at least one
byte of text in every tokenizer that falls back to bytes, and about four of them in most texts. JSON around the text
and its escapes are counted too, which covers what providers add for each message.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from signalbox.common.record import record
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money.prices import Terms
from signalbox.llm_gateway.protocol import RequestBody, Tokens, estimated_tokens
from signalbox.llm_gateway.rates import Price
from signalbox.llm_gateway.records import MAX_PICO

UNCAPPED_OUTPUT = 4096
"""Output tokens that are reserved where neither the request, the key nor the model has a limit.

Under a hard budget they are sent as the request's cap then: what is reserved must be all that can be used.
"""

_TEXT = frozenset({"text", "refusal", "thinking", "redacted_thinking"})
_MOST_TOKENS = 10**12
"""A bound of the bound, far beyond what can be asked for, so that all counters and columns can hold it."""


@record
class Asked:
    """How large a request is, whatever answers it.

    ``output_cap`` is of one of its ``choices``: the request's own, else the key's; None leaves it to the model.
    """

    text_bytes: int
    images: int = 0
    audios: int = 0
    others: int = 0
    """Parts of other kinds, such as files and videos."""
    choices: int = 1
    output_cap: int | None = None
    answers: bool = True
    """Whether there is output; embeddings have none."""
    text_only: bool = True
    """Whether the output is text alone."""


@record
class WorstCase:
    """Of one attempt at the dearest deployment that may answer.

    ``cost_pico`` is None when it is not known what one of the deployments costs, which is not nothing; ``unknown``
    says in a sentence why. A deployment that is declared as ``cost: unknown`` adds nothing to it, so that with no
    other one it is 0 and without a currency.
    """

    tokens: Tokens
    """The bound: input by bytes, output by its cap."""
    cost_pico: int | None
    """Of the bound, rounded up."""
    currency: str | None
    estimate: Tokens
    """What limits of tokens take until it is known what was used: input at four bytes a token, output by its cap."""
    unknown: str | None = None
    assumed: bool = False
    """Whether a deployment has no limit of output, so that one was assumed."""
    estimated_pico: int | None = None
    """What the estimate costs, never more than the bound; None where that is."""


def asked(body: RequestBody, *, answers: bool, default_output: int | None = None) -> Asked:
    """The size of a request, from the body as it was parsed.

    Args:
        body: a chat or embeddings request.
        answers: whether it is a chat.
        default_output: the key's cap, for a request that has none.
    """
    size = len(body.raw)
    if not answers:
        return Asked(size, answers=False)
    images = audios = others = data = 0
    fields = body.fields
    for part in _parts(fields.get("messages")):
        kind = part.get("type")
        if kind == "image_url":
            images += 1
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if isinstance(url, str) and url.startswith("data:"):
                data += len(url)
        elif kind == "input_audio":
            audios += 1
            audio = part.get("input_audio")
            encoded = audio.get("data") if isinstance(audio, dict) else None
            data += len(encoded) if isinstance(encoded, str) else 0
        elif kind not in _TEXT:
            others += 1
    modalities, choices, cap = fields.get("modalities"), fields.get("n"), body.output_cap
    return Asked(
        # A body may say something twice; what it says last was parsed, so the rest is never less than nothing.
        text_bytes=size if not data else max(0, size - data),
        images=images,
        audios=audios,
        others=others,
        choices=1 if choices is None else _choices(choices),
        output_cap=default_output if cap is None else cap,
        text_only=modalities is None or not isinstance(modalities, list) or modalities == ["text"],
    )


def worst_case(request: Asked, candidates: Sequence[tuple[Deployment, Terms]]) -> WorstCase:
    """The worst case of a request that any of ``candidates``, never empty, may answer."""
    text = request.text_bytes
    most_media = most_output = 0
    cost, currency, unknown, assumed = 0, None, None, False
    has_media = request.images or request.audios or request.others
    prices = []
    for deployment, terms in candidates:
        media = _media(request, deployment) if has_media else 0
        cap = request.output_cap or deployment.max_output_tokens or terms.max_output
        assumed = assumed or (request.answers and not cap)
        output = request.choices * (cap or UNCAPPED_OUTPUT) if request.answers else 0
        output = min(output, _MOST_TOKENS)
        most_media = max(most_media, media)
        most_output = max(most_output, output)
        price = terms.price
        if price is None:
            if deployment.cost != "unknown":
                unknown = f"'{deployment.name}' has no price"
            continue
        if currency is not None and currency != price.currency:
            unknown = f"its deployments have prices in {currency} and {price.currency}"
        currency = price.currency
        prices.append(price)
        cost = max(cost, _at_most(price, text, media, output, text_only=request.text_only))
    bound = Tokens(text + most_media, most_output)
    estimate = Tokens(estimated_tokens(text) + most_media, most_output)
    if unknown is not None:
        return WorstCase(bound, None, None, estimate, unknown, assumed)
    # A tier for more tokens may be cheaper than that of fewer.
    estimated = min(cost, max([_of_estimate(price, estimate) for price in prices], default=0))
    return WorstCase(bound, cost, currency, estimate, assumed=assumed, estimated_pico=estimated)


def _media(request: Asked, deployment: Deployment) -> int:
    """Tokens for what is no text, as the deployment declares them.

    A part of another kind counts as the dearer of an image and a piece of audio, beside its bytes: a file may have
    pages as images, a video both.
    """
    other = max(deployment.image_tokens, deployment.audio_tokens)
    media = (
        request.images * deployment.image_tokens
        + request.audios * deployment.audio_tokens
        + request.others * other
    )
    return min(media, _MOST_TOKENS)


def _at_most(price: Price, text: int, media: int, output: int, *, text_only: bool) -> int:
    try:
        return min(price.at_most_pico(text, media, output, text_only=text_only), MAX_PICO)
    except ArithmeticError:  # more digits than decimals have
        return MAX_PICO


def _of_estimate(price: Price, estimate: Tokens) -> int:
    try:
        return price.cost_pico(estimate, plain_text=True)
    except ArithmeticError:  # more digits than decimals have
        return MAX_PICO


def _parts(messages: Any) -> Iterable[dict[str, Any]]:
    """The parts of those messages whose content is no plain text."""
    if not isinstance(messages, list):
        return ()
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    return [
        part
        for content in contents
        if isinstance(content, list)
        for part in content
        if isinstance(part, dict)
    ]


def _choices(count: Any) -> int:
    if isinstance(count, int) and not isinstance(count, bool) and count > 1:
        return count
    return 1
