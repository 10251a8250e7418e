"""A workflow folder: what is saved is published, once, and what cannot be is said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from signalbox.common.errors import NotFound
from signalbox.standalone.folder import FILE_NAME, WorkflowFolder

WITHIN_S = 1.0
"""How long after a save the docs say that it is served."""


class Admin:
    """Keeps what is published; a document named ``refused`` is not."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    async def publish(self, document: dict[str, Any]) -> str:
        if document["name"] == "refused":
            raise NotFound("There is no such thing.")
        return f"published {document['name']}"

    async def says(self) -> str:
        return await asyncio.wait_for(self.said.get(), WITHIN_S)


@asynccontextmanager
async def served(folder: Path, admin: Admin) -> AsyncIterator[WorkflowFolder]:
    served = WorkflowFolder(folder, admin.publish, admin.said.put_nowait)
    served.start()
    try:
        yield served
    finally:
        await served.stop()


def save(folder: Path, text: str) -> None:
    """As editors do: a new file in the old one's place."""
    new = folder / ".new"
    new.write_text(text)
    new.replace(folder / FILE_NAME)


async def test_what_is_saved_is_published_within_a_second(tmp_path: Path) -> None:
    admin = Admin()
    save(tmp_path, "name: first")
    async with served(tmp_path, admin) as folder:
        assert await admin.says() == "published first"
        await folder.check()
        save(tmp_path, "name: second")
        assert await admin.says() == "published second"
        (tmp_path / FILE_NAME).write_text("name: third")
        assert await admin.says() == "published third"


async def test_only_the_workflow_is_published_and_once_for_each_save(tmp_path: Path) -> None:
    admin = Admin()
    save(tmp_path, "name: first")
    async with served(tmp_path, admin):
        assert await admin.says() == "published first"
        save(tmp_path, "name: second")
        assert await admin.says() == "published second"
        (tmp_path / "dialogues.yaml").write_text("dialogues: []")
        save(tmp_path, "name: third")
        assert await admin.says() == "published third"
    assert admin.said.empty()


async def test_what_cannot_be_published_is_said_and_the_next_save_is_served(tmp_path: Path) -> None:
    admin = Admin()
    save(tmp_path, "name: refused")
    async with served(tmp_path, admin):
        assert await admin.says() == "not published: There is no such thing."
        (tmp_path / FILE_NAME).unlink()
        assert "No such file" in await admin.says()
        save(tmp_path, "name: good")
        assert await admin.says() == "published good"
