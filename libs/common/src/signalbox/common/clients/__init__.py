"""Typed clients of our own services: the same calls whether the service is in this process or elsewhere."""

from signalbox.common.clients.admin import AdminClient
from signalbox.common.clients.base import ServiceCallFailed, ServiceClient
from signalbox.common.clients.flows import FlowsClient
from signalbox.common.clients.gateway import CallLabels, ChatAnswer, ChatChunk, GatewayClient
from signalbox.common.clients.roles import DefaultRoles
from signalbox.common.clients.skills import SkillsClient
from signalbox.common.clients.tools import ToolsClient
from signalbox.common.clients.workflow import WorkflowClient

__all__ = [
    "AdminClient",
    "CallLabels",
    "ChatAnswer",
    "ChatChunk",
    "DefaultRoles",
    "FlowsClient",
    "GatewayClient",
    "ServiceCallFailed",
    "ServiceClient",
    "SkillsClient",
    "ToolsClient",
    "WorkflowClient",
]
