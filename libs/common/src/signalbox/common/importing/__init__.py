"""``signalbox import``: an earlier ``workflow_config.json`` as a workflow document of ours.

What is read, and what becomes of it, is written in docs/how-to/import-a-workflow.md.
"""

from signalbox.common.importing.importer import Imported, NotImportable, import_workflow
from signalbox.common.importing.report import Note, as_json, as_text
from signalbox.common.importing.writer import as_yaml

__all__ = ["Imported", "NotImportable", "Note", "as_json", "as_text", "as_yaml", "import_workflow"]
