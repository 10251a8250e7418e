"""``signalbox models``: which model answers which role, and why."""

import typer

from signalbox.common.cli.options import DEFAULT_URL, Url

app = typer.Typer()


@app.command()
def models(
    url: Url = DEFAULT_URL,
) -> None:
    """Say which model answers which role, and why."""
    from signalbox.common.cli.http import call, open_client
    from signalbox.contracts.llm import ModelList

    with open_client(url) as client:
        listed = ModelList.model_validate(call(client, "GET", "/llm/v1/models"))
    for role, reason in listed.role_reasons.items():
        print(f"{role + ':':<8} {listed.roles.get(role, '-'):<24} {reason}")
