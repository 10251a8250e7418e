"""The flows of a snapshot are compiled when they are asked for, each by itself."""

import pytest

from signalbox.common.arguments import BadJsonSchema
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.flows.book import FlowBook
from signalbox.flows.errors import UnknownFlow


def test_a_flow_is_compiled_when_it_is_first_asked_for_and_once():
    # That this schema is none would show as soon as anything compiled it.
    slot = {"id": "n", "prompt": "n?", "validation": {"json_schema": {"type": 7}, "message": "No."}}
    other = {"id": "other", "slots": [slot], "steps": [{"type": "ask", "slot": "n"}]}
    document = {
        "workflow_id": "shop",
        "name": "Shop",
        "flows": [{"id": "order", "steps": [{"type": "reply", "text": "Yes."}]}, other],
    }
    book = FlowBook(WorkflowConfig.model_validate(document), {})
    assert book.flow("order") is book.flow("order")
    with pytest.raises(BadJsonSchema):
        book.flow("other")
    with pytest.raises(UnknownFlow):
        book.flow("third")
