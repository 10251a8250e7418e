"""Work in a process of its own: what takes seconds of CPU, or might die, keeps neither requests nor the service."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence


async def run_apart(
    command: Sequence[str], given: bytes, timeout_s: float, environment: Mapping[str, str]
) -> bytes | None:
    """What a command prints when it reads ``given``; None where it fails or takes longer.

    Started from a thread and not by the event loop: uvloop forks in a way that runs Python's fork handlers in the
    child, and those of OpenTelemetry wait there for ever.
    """
    process = await asyncio.to_thread(
        subprocess.Popen,
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        output, _ = await asyncio.to_thread(process.communicate, given, timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # A cancelled build, too, ends what it began; the thread that waits for it then ends by itself.
        process.kill()
        await asyncio.to_thread(process.wait)
    return bytes(output) if process.returncode == 0 else None
