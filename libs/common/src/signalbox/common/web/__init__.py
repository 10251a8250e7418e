"""The HTTP side that all services share: the app factory, problem details, health and metrics."""

from signalbox.common.web.app import ReadyCheck, ServiceParts, create_service_app
from signalbox.common.web.frames import Emit, Work, frame_response, send_frames, work_frames
from signalbox.common.web.problems import problem_response

__all__ = [
    "Emit",
    "ReadyCheck",
    "ServiceParts",
    "Work",
    "create_service_app",
    "frame_response",
    "problem_response",
    "send_frames",
    "work_frames",
]
