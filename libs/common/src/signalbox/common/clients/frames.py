"""Reading the frame streams of Flows and Skills."""

from collections.abc import AsyncGenerator

from pydantic import TypeAdapter, ValidationError

from signalbox.common.clients.base import lines, unreadable
from signalbox.common.transport import HopStream
from signalbox.contracts.admin import ServiceName
from signalbox.contracts.work import Frame

_FRAME: TypeAdapter[Frame] = TypeAdapter(Frame)

NDJSON = "application/x-ndjson"


async def frames(service: ServiceName, stream: HopStream) -> AsyncGenerator[Frame, None]:
    """The frames of an NDJSON stream, as they come.

    Raises:
        ServiceCallFailed: a line is no frame.
    """
    async for line in lines(stream):
        try:
            frame = _FRAME.validate_json(line)
        except ValidationError as error:
            raise unreadable(service, error) from error
        yield frame


def frame_line(frame: Frame) -> bytes:
    """A frame as one line of an NDJSON stream."""
    return frame.model_dump_json(exclude_none=True).encode() + b"\n"
