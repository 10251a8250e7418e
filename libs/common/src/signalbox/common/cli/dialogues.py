"""``signalbox test``: plays dialogues against a running Signalbox and says where it answers something else."""

from pathlib import Path
from typing import Annotated

import typer

from signalbox.common.cli.options import DEFAULT_URL, Url
from signalbox.common.errors import NotFound

app = typer.Typer()


@app.command("test")
def play_files(
    files: Annotated[list[Path], typer.Argument(help="Dialogues as YAML, or folders of them.")],
    url: Url = DEFAULT_URL,
    workflow: Annotated[str | None, typer.Option(help="Workflow id; default: the tenant's.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Play these dialogues alone, by id.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Dialogues at a time.")] = 4,
    junit: Annotated[
        Path | None, typer.Option(help="Write the outcomes to this file, too, as JUnit's XML.")
    ] = None,
) -> None:
    """Play dialogues and report every difference. Exit status 1 when there is one."""
    from signalbox.common.cli.http import open_client
    from signalbox.common.dialogues import Outcome, as_junit, as_lines, play_all, read_dialogues

    dialogues = read_dialogues(files)
    if only:
        known = {dialogue.id for dialogue in dialogues}
        if missing := sorted(set(only) - known):
            raise NotFound(f"There is no dialogue {', '.join(missing)} in these files.")
        dialogues = [dialogue for dialogue in dialogues if dialogue.id in only]
    outcomes: list[Outcome] = []
    with open_client(url, timeout_s=310.0) as client:
        for outcome in play_all(client, dialogues, workflow=workflow, parallel=parallel):
            outcomes.append(outcome)
            print("\n".join(as_lines(outcome)), flush=True)
    failed = sum(not outcome.passed for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    if junit is not None:
        junit.write_bytes(as_junit(outcomes))
    if failed:
        raise typer.Exit(1)
