"""``signalbox gateway-key`` and ``signalbox prices``: what an operator does beside the gateway's database and file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signalbox.contracts.identity import DEFAULT_TENANT, Scope

if TYPE_CHECKING:
    from signalbox.llm_gateway.money import DatedPrice
    from signalbox.llm_gateway.policies.store import StoredPolicies

app = typer.Typer()
prices = typer.Typer(help="The table of prices: add to it, list it.", no_args_is_help=True)
app.add_typer(prices, name="prices")


@app.command("gateway-key")
def gateway_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; default: llm.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only these models; default: all.")] = None,
    max_output: Annotated[
        int | None, typer.Option(min=1, help="Output tokens of an answer to a call without a cap of its own.")
    ] = None,
    priority: Annotated[int, typer.Option(min=-100, max=100)] = 0,
    tenant: str = DEFAULT_TENANT,
) -> None:
    """Make an API key for a gateway without Admin: print it, once, and its entry for the gateway's file."""
    import yaml

    from signalbox.common.auth import create_key
    from signalbox.llm_gateway.policies.keys import KeySpec

    new = create_key()
    spec = KeySpec(
        key_id=new.key_id,
        secret_sha256=new.secret_sha256,
        name=name,
        tenant=tenant,
        scopes=scope or [Scope.LLM],
        models=model,
        default_max_output=max_output,
        priority=priority,
    )
    print(new.key)
    entry = spec.model_dump(mode="json", exclude_defaults=True)
    typer.echo("It is not shown again. Below 'keys:' in the gateway's file:\n", err=True)
    typer.echo(yaml.safe_dump([entry], sort_keys=False), err=True)


@prices.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="YAML with entries as below 'prices:' in the gateway's file.", exists=True)
    ],
) -> None:
    """Add prices to the table, in the database that the settings name. Gateways go by them within seconds.

    Nothing is ever changed in the table: a later entry for the same time corrects an earlier one.
    """
    import asyncio

    from signalbox.llm_gateway.gateway_file import GatewayFile

    entries = GatewayFile.section(file, "prices").prices
    asyncio.run(_add(entries))
    print(f"added {len(entries)} price(s)")


@prices.command("list")
def list_prices() -> None:
    """List the table of prices in the order in which they were added."""
    import asyncio

    for price in asyncio.run(_stored()).prices:
        of = price.deployment or f"{price.provider} {price.model}"
        print(
            f"{price.since:%Y-%m-%d %H:%M:%S%z}  {of:<32}  {price.input} in, {price.output} out, {price.currency}"
        )


async def _add(entries: "list[DatedPrice]") -> None:
    from signalbox.common.ids import now_ms
    from signalbox.common.storage import open_database
    from signalbox.llm_gateway.policies.store import Change, SqlPolicyStore

    database = open_database(_database_url(), pool_size=1)
    try:
        for price in entries:
            await SqlPolicyStore(database).add_price(price, Change("offline", now_ms()))
    finally:
        await database.close()


async def _stored() -> "StoredPolicies":
    from signalbox.common.storage import open_database
    from signalbox.llm_gateway.policies.store import SqlPolicyStore

    database = open_database(_database_url(), pool_size=1)
    try:
        return await SqlPolicyStore(database).load()
    finally:
        await database.close()


def _database_url() -> str:
    from signalbox.llm_gateway.settings import GatewaySettings

    return GatewaySettings().database_url_of("llm_gateway")
