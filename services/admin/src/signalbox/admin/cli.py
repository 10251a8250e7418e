"""``signalbox publish``, ``releases`` and ``keys``: the operator's commands."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signalbox.common.cli.options import DEFAULT_URL, Url
from signalbox.common.errors import BadRequest
from signalbox.contracts.identity import DEFAULT_TENANT, Scope

if TYPE_CHECKING:
    from signalbox.contracts.admin import CreatedKey, CreateKeyRequest

_API = "/admin/api/v1"
_PUBLISH_TIMEOUT_S = 330.0
_DAY_MS = 86_400_000

_PRIORITY = "Of model calls that wait for a limit, those with the larger number are made first."

Models = Annotated[list[str] | None, typer.Option("--model", help="Only these models; default: all.")]
MaxOutput = Annotated[
    int | None,
    typer.Option(min=1, help="Output tokens of an answer to a model call without a cap of its own."),
]
Environment = Annotated[str, typer.Option("--environment", "-e", help="The environment to release to.")]

app = typer.Typer()
keys = typer.Typer(help="API keys: create, list, change, revoke.", no_args_is_help=True)
app.add_typer(keys, name="keys")


class NoCredential(BadRequest):
    """The installation wants an API key, and the command line has none."""

    code = "no_credential"


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="A workflow as YAML or JSON.", exists=True, dir_okay=False)],
    url: Url = DEFAULT_URL,
    message: Annotated[str, typer.Option("--message", "-m", help="What changed, for the release.")] = "",
    environment: Environment = "default",
    activate: Annotated[
        bool, typer.Option(help="Make it the active release, or only store and build it.")
    ] = True,
) -> None:
    """Validate, store, build and activate a workflow; print all that is wrong with it. Exit status 1 then."""
    from signalbox.common.cli.http import call, open_client
    from signalbox.common.documents import parse

    body = {
        "document": parse(file.read_bytes()),
        "message": message,
        "environment": environment,
        "activate": activate,
    }
    with open_client(url, timeout_s=_PUBLISH_TIMEOUT_S) as client:
        reply = call(client, "POST", f"{_API}/publish", body)
    snapshot, release = reply["snapshot"], reply["release"]
    for warning in snapshot["warnings"]:
        print(f"warning: {warning['pointer'] or '/'}: {warning['detail']} [{warning['code']}]")
    print(f"snapshot {snapshot['config_hash']} ({snapshot['size']} bytes, {snapshot['state']})")
    if release is None:
        print(f"{snapshot['workflow_id']}: stored, not activated")
    else:
        was = "is" if reply["changed"] else "was already"
        where = f"{release['workflow_id']} in {release['environment']}"
        print(f"release {release['number']} {was} the active one of {where}")


@app.command()
def releases(
    workflow: Annotated[str | None, typer.Option(help="Only those of this workflow.")] = None,
    url: Url = DEFAULT_URL,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
) -> None:
    """List releases, newest first; ``*`` marks the active ones."""
    from signalbox.common.cli.http import call, open_client

    query = f"limit={limit}" + (f"&workflow_id={workflow}" if workflow else "")
    with open_client(url) as client:
        found = call(client, "GET", f"{_API}/releases?{query}")
    for item in found["items"]:
        mark = "*" if item["active"] else " "
        place = f"{item['workflow_id']}/{item['environment']}"
        print(
            f"{mark} {item['number']:>4}  {_time(item['created_at'])}  {place:<24}  {item['config_hash'][:12]}  "
            f"{item['created_by']}  {item['message']}"
        )


@keys.command("create")
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeat for several.")] = None,
    workflow: Annotated[list[str] | None, typer.Option(help="Only these workflows; default: all.")] = None,
    model: Models = None,
    max_output: MaxOutput = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help=_PRIORITY)] = 0,
    expires_days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.")] = None,
    url: Url = DEFAULT_URL,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Write to the database that the settings name: for the first key."),
    ] = False,
    tenant: Annotated[
        str | None, typer.Option(help=f"With --offline: whose key; default: {DEFAULT_TENANT}.")
    ] = None,
) -> None:
    """Create an API key and print it, once."""
    from signalbox.common.cli.http import call, open_client
    from signalbox.common.ids import now_ms
    from signalbox.contracts.admin import CreatedKey, CreateKeyRequest

    expires_at = None if expires_days is None else now_ms() + expires_days * _DAY_MS
    request = CreateKeyRequest(
        name=name,
        scopes=scope or [Scope.QUERY],
        workflows=workflow,
        models=model,
        default_max_output=max_output,
        priority=priority,
        expires_at=expires_at,
    )
    if offline:
        made = _create_offline(request, tenant or DEFAULT_TENANT)
    else:
        if tenant is not None:
            raise BadRequest(
                "--tenant goes with --offline; a running Signalbox takes the tenant of your own key."
            )
        _require_credential()
        with open_client(url) as client:
            body = request.model_dump(mode="json")
            made = CreatedKey.model_validate(call(client, "POST", f"{_API}/keys", body))
    print(made.key)
    typer.echo(
        f"Key '{made.name}' ({', '.join(made.scopes)}), id {made.key_id}. It is not shown again.", err=True
    )


@keys.command("list")
def list_keys(url: Url = DEFAULT_URL, limit: Annotated[int, typer.Option(min=1, max=200)] = 50) -> None:
    """List the API keys, newest first, without their secrets."""
    from signalbox.common.cli.http import call, open_client

    _require_credential()
    with open_client(url) as client:
        found = call(client, "GET", f"{_API}/keys?limit={limit}")
    for item in found["items"]:
        print(f"{item['key_id']}  {_time(item['created_at'])}  {_state(item):<8}  {item['name']}")
        workflows = ", ".join(item["workflows"] or ["all"])
        print(f"    {', '.join(item['scopes'])}; workflows: {workflows}; {_of_models(item)}")


@keys.command("change")
def change(
    key_id: Annotated[str, typer.Argument(help="The key's id: between the underscores.")],
    model: Models = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="Every model.")] = False,
    max_output: MaxOutput = None,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help=_PRIORITY)] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Change which models an API key may call, and how; what is not named stays as it is."""
    from urllib.parse import quote

    from signalbox.common.cli.http import call, open_client

    body: dict[str, Any] = {"default_max_output": max_output, "priority": priority}
    body = {name: value for name, value in body.items() if value is not None}
    if model or all_models:
        body["models"] = None if all_models else model
    _require_credential()
    with open_client(url) as client:
        item = call(client, "PATCH", f"{_API}/keys/{quote(key_id, safe='')}", body)
    print(f"{item['key_id']} ({item['name']}): {_of_models(item)}")


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id: between the underscores.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Revoke an API key; it stops working within seconds."""
    from urllib.parse import quote

    from signalbox.common.cli.http import call, open_client

    _require_credential()
    with open_client(url) as client:
        item = call(client, "DELETE", f"{_API}/keys/{quote(key_id, safe='')}")
    print(f"revoked {item['key_id']} ({item['name']})")


def _require_credential() -> None:
    import os

    from signalbox.common.settings import CommonSettings

    if not os.environ.get("SIGNALBOX_API_KEY") and CommonSettings().auth == "keys":
        raise NoCredential(
            "Set SIGNALBOX_API_KEY to a key with the scope 'keys:write'. The first one is made beside the "
            "database: signalbox keys create --offline --name admin --scope keys:write ..."
        )


def _create_offline(request: "CreateKeyRequest", tenant: str) -> "CreatedKey":
    import asyncio

    from signalbox.admin.offline import create_key_offline
    from signalbox.admin.settings import AdminSettings

    return asyncio.run(create_key_offline(AdminSettings(), tenant, request))


def _of_models(item: dict[str, Any]) -> str:
    """What a key may do at the gateway, where that is not everything."""
    said = [f"models: {', '.join(item['models'] or ['all'])}"]
    if item["default_max_output"] is not None:
        said.append(f"output: {item['default_max_output']} tokens")
    if item["priority"]:
        said.append(f"priority: {item['priority']}")
    return "; ".join(said)


def _time(epoch_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_ms / 1000))


def _state(item: dict[str, Any]) -> str:
    if item["revoked_at"] is not None:
        return "revoked"
    expired = item["expires_at"] is not None and item["expires_at"] <= time.time() * 1000
    return "expired" if expired else "active"
