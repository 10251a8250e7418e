"""The example's imported tool is what its backend describes now."""

import json

from support.systems import shop_document

from signalbox.tools.importing.openapi_document import OpenApiDocument
from signalbox.tools.importing.openapi_tools import operation_named
from signalbox_example_shop.app import create_app
from signalbox_example_shop.settings import Settings


def test_the_pin_of_the_imported_tool_is_that_of_the_shops_own_document() -> None:
    document = OpenApiDocument.parse(json.dumps(create_app(Settings()).openapi()).encode())
    tools = shop_document()["tools"]
    assert isinstance(tools, list)
    origins = [tool["openapi"] for tool in tools if "openapi" in tool]

    assert [origin["operation"] for origin in origins] == ["GET /returns/{return_id}"]
    for origin in origins:
        operation = operation_named(document, origin["operation"])
        assert operation is not None
        assert document.definition(operation).pin() == origin["pin"]
