"""Where the ``signalbox`` command begins: what must be set before anything else is imported."""

import gc
import os
import warnings


def main() -> None:
    """Run the command line."""
    prepare_process()
    from signalbox.common.cli.commands import run

    run()


def prepare_process() -> None:
    """Make a start quick: neither look for garbage, nor build what only later calls need."""
    # Importing makes no garbage worth looking for; a server turns the collector on when it has started.
    gc.disable()
    # A look at every installed distribution; who has plugins for pydantic sets this to something else.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

    from pydantic import BaseModel, ConfigDict
    from pydantic.warnings import UnsupportedFieldAttributeWarning

    # Models made from here on, FastAPI's own too, are built when they are first used; a server builds the rest when
    # it is idle (`signalbox.common.web.late`).
    BaseModel.model_config = ConfigDict(defer_build=True)
    # FastAPI silences this where it makes its fields, which is now before they are built.
    warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)
