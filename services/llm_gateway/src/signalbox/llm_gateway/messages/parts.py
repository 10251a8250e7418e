"""Content blocks of Anthropic's protocol as content parts of OpenAI's.

Sources: Anthropic API reference, "Create a message" (``messages.content``); OpenAI API reference, "Create chat
completion" (``messages.content``). ``cache_control`` is kept where it stands: litellm reads it there.
"""

from typing import Any

from signalbox.llm_gateway.translation.nodes import Node

Json = dict[str, Any]


def parts_of(content: Node) -> list[Json]:
    """The parts of a text or of a list of blocks that show something: text, image, document, search result.

    Raises:
        MalformedCall: a block is of another kind, or lacks something.
    """
    if isinstance(content.value, str):
        return [{"type": "text", "text": content.value}]
    return [part for block in content.items() for part in block_parts(block)]


def block_parts(block: Node) -> list[Json]:
    """The parts of one block. Raises as ``parts_of`` does."""
    match block.kind():
        case "text":
            part: Json = {"type": "text", "text": block.member("text").text()}
        case "image":
            part = {"type": "image_url", "image_url": {"url": _image_url(block.member("source"))}}
        case "document":
            return _document(block)
        case "search_result":
            part = _search_result(block)
        case kind:
            raise block.wrong(f"a block of type '{kind}' cannot stand here, or is not served by this gateway")
    return [cached(part, block)]


def cached(made: Json, block: Node) -> Json:
    """``made`` with the ``cache_control`` of the block that it was made from."""
    mark = block.optional("cache_control")
    return made if mark is None else {**made, "cache_control": mark.mapping()}


def merged(parts: list[Json]) -> str | list[Json]:
    """Parts as the ``content`` of a message: one text alone as a text, which every provider reads."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _image_url(source: Node) -> str:
    match source.kind():
        case "base64":
            return f"data:{source.member('media_type').text()};base64,{source.member('data').text()}"
        case "url":
            return source.member("url").text()
        case kind:
            raise source.wrong(f"an image's source of type '{kind}' is not served; send it as base64 or url")


def _document(block: Node) -> list[Json]:
    source = block.member("source")
    title = block.optional("title")
    match source.kind():
        case "text":
            part = _titled(title, source.member("data").text())
        case "content":
            return parts_of(source.member("content"))
        case "base64":
            data = f"data:{source.member('media_type').text()};base64,{source.member('data').text()}"
            name = "document.pdf" if title is None else title.text()
            part = {"type": "file", "file": {"filename": name, "file_data": data}}
        case kind:
            raise source.wrong(f"a document's source of type '{kind}' is not served; send base64 or text")
    return [cached(part, block)]


def _titled(title: Node | None, text: str) -> Json:
    return {"type": "text", "text": text if title is None else f"{title.text()}\n\n{text}"}


def _search_result(block: Node) -> Json:
    texts = [part["text"] for part in parts_of(block.member("content")) if part["type"] == "text"]
    head = f"{block.member('title').text()} ({block.member('source').text()})"
    return {"type": "text", "text": "\n".join([head, *texts])}
