"""``signalbox doctor``: does every role have a model that can do its work? And the operator's commands."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import typer

from signalbox.common.cli.options import DEFAULT_URL, Url
from signalbox.llm_gateway.operating.cli import app as operating

if TYPE_CHECKING:
    import httpx

    from signalbox.contracts.llm import ModelList
    from signalbox.llm_gateway.doctor import Finding, Gateway

app = typer.Typer()
app.add_typer(operating)

_TIMEOUT_S = 120.0


@app.command()
def doctor(
    url: Url = DEFAULT_URL,
) -> None:
    """Make one real call per role (text, tools, JSON, embeddings) and say what a model cannot do.

    Asks a running Signalbox; when none listens at the default address, the gateway runs inside this command with
    the settings of the environment. Exit status 1 when a check fails.
    """
    findings = asyncio.run(_examine(url))
    print(_table(findings))
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


async def _examine(url: str) -> "list[Finding]":
    from signalbox.llm_gateway.doctor import examine

    async with _gateway(url) as gateway:
        return await examine(gateway)


@asynccontextmanager
async def _gateway(url: str) -> "AsyncIterator[Gateway]":
    """The running gateway, else one of our own."""
    import httpx

    from signalbox.common.errors import Unavailable

    key = os.environ.get("SIGNALBOX_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False
    ) as client:
        try:
            await client.get("/live")
        except httpx.TransportError as error:
            if url != DEFAULT_URL:
                raise Unavailable(
                    f"No Signalbox answers at {url} ({error}); start one, or name another."
                ) from error
        else:
            yield HttpGateway(client)
            return
    async with _own() as own:
        yield own


@asynccontextmanager
async def _own() -> "AsyncIterator[Gateway]":
    """A gateway inside this process, with an empty ledger of its own that ends with the command."""
    import tempfile
    from pathlib import Path

    import httpx

    from signalbox.common.storage.migrations import migrate
    from signalbox.common.transport import lifespans
    from signalbox.llm_gateway.app import create_app
    from signalbox.llm_gateway.settings import GatewaySettings

    print(f"Nothing listens at {DEFAULT_URL}; checking the models of this environment's settings.\n")
    with tempfile.TemporaryDirectory(prefix="signalbox-doctor-") as directory:
        settings = GatewaySettings().model_copy(
            update={"data": Path(directory), "database_url": None, "redis_url": None, "auth": "local"}
        )
        migrate("llm_gateway", "signalbox.llm_gateway.migrations", settings.database_url_of("llm_gateway"))
        gateway = create_app(settings)
        transport = httpx.ASGITransport(app=gateway)
        async with (
            lifespans([gateway]),
            httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=_TIMEOUT_S) as client,
        ):
            yield HttpGateway(client)


class HttpGateway:
    """A gateway over HTTP."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def models(self) -> "ModelList":
        """See ``doctor.Gateway``."""
        from signalbox.common.errors import Unavailable
        from signalbox.contracts.llm import ModelList

        response = await self._client.get("/llm/v1/models")
        if response.status_code != 200:
            raise Unavailable(
                f"{response.request.url} answered {response.status_code}; "
                "is SIGNALBOX_API_KEY a key with the scope llm?"
            )
        return ModelList.model_validate_json(response.content)

    async def call(self, path: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """See ``doctor.Gateway``."""
        headers = {"signalbox-purpose": "test"}
        response = await self._client.post(f"/llm/v1{path}", json=dict(body), headers=headers)
        return response.status_code, response.headers, response.content


def _table(findings: "Sequence[Finding]") -> str:
    """The findings in columns."""
    marks = {True: "ok", False: "FAILS", None: "no model"}
    rows = [
        ("ROLE", "MODEL", "CHECK", "RESULT", "MS", ""),
        *(
            (found.role, found.model, found.check, marks[found.ok], str(found.took_ms), found.note)
            for found in findings
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip()
        for row in rows
    )
