"""HTTP requests that a workflow config describes: rendered, authorised, sent through the guard, mapped.

``HttpCall`` is one request of the config, compiled once with its snapshot; ``HttpCallExecutor`` carries calls
out. Tools and the function mode of skills share it.
"""

from signalbox.common.http_calls.call import HttpCall
from signalbox.common.http_calls.circuits import Circuits
from signalbox.common.http_calls.errors import CallFailed
from signalbox.common.http_calls.executor import CallResult, HttpCallExecutor
from signalbox.common.http_calls.rendering import RenderedRequest

__all__ = ["CallFailed", "CallResult", "Circuits", "HttpCall", "HttpCallExecutor", "RenderedRequest"]
