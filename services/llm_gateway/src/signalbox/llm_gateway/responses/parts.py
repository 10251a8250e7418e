"""Content parts of the Responses API as content parts of a chat message."""

from typing import Any

from signalbox.llm_gateway.translation.nodes import Node

Json = dict[str, Any]


def chat_parts(content: Node) -> list[Json]:
    """The parts of a text or of a list of parts.

    Raises:
        MalformedCall: a part is of another kind, or refers to a file that lies elsewhere.
    """
    if isinstance(content.value, str):
        return [{"type": "text", "text": content.value}]
    return [_part(part) for part in content.items()]


def merged(parts: list[Json]) -> str | list[Json]:
    """Parts as the ``content`` of a message: one text alone as a text, which every provider reads."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _part(part: Node) -> Json:
    match part.kind():
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part.member("text").text()}
        case "refusal":
            return {"type": "text", "text": part.member("refusal").text()}
        case "input_image":
            return {"type": "image_url", "image_url": _image(part)}
        case "input_file":
            return {"type": "file", "file": _file(part)}
        case kind:
            raise part.wrong(f"a part of type '{kind}' is not served by this gateway")


def _image(part: Node) -> Json:
    url = part.optional("image_url")
    if url is None:
        raise part.wrong("the gateway keeps no files; send the image as image_url, which may be a data URL")
    image: Json = {"url": url.text()}
    detail = part.optional("detail")
    if detail is not None:
        image["detail"] = detail.text()
    return image


def _file(part: Node) -> Json:
    data = part.optional("file_data")
    if data is None:
        raise part.wrong("the gateway keeps no files and fetches none; send the file as file_data")
    name = part.optional("filename")
    return {"filename": "file.pdf" if name is None else name.text(), "file_data": data.text()}
