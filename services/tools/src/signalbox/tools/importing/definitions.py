"""What somebody else says a tool is, and the hash that an approval of it is kept by."""

import hashlib
import json
from typing import Any

from signalbox.common.record import record


@record
class Definition:
    """A tool as its source describes it, before anything of it is put into our words.

    ``schema`` is the JSON schema of an MCP tool's arguments; of an OpenAPI operation it is its parameters and body
    as they stand in the document, with every component that they refer to.
    """

    name: str
    description: str
    schema: Any

    def pin(self) -> str:
        """SHA-256, in hex, over name, description and schema as compact JSON with sorted keys.

        Not RFC 8785, which has no 64-bit integers: many a schema names one as its maximum.
        """
        content = {"name": self.name, "description": self.description, "schema": self.schema}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
