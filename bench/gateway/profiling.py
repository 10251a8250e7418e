"""Where our gateway's time goes under a load: a file of stacks, and a list of functions."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_END_S = 20.0
_SHOWN_OWN, _SHOWN_INSIDE = 30, 70


@contextmanager
def sampled(pid: int, output: Path) -> Iterator[None]:
    """Sample a process that ``sampled.py`` runs; then ``output`` holds its stacks, and what they say is printed."""
    output.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    yield
    os.kill(pid, signal.SIGUSR2)
    deadline = time.monotonic() + _END_S
    while not output.exists():
        if time.monotonic() > deadline:
            print(f"  no samples were written in {_END_S:g} s")
            return
        time.sleep(0.05)
    _print_summary(output.read_text())


def _print_summary(folded: str) -> None:
    own, inside = Counter[str](), Counter[str]()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = stack.split(";")
        own[functions[-1]] += int(count)
        inside.update(dict.fromkeys(functions, int(count)))
    total = own.total()
    for title, counted, shown in (("itself", own, _SHOWN_OWN), ("with what it calls", inside, _SHOWN_INSIDE)):
        print(f"\n  {total} samples; each function's share, {title}")
        # What every sample holds is the way into the loop.
        telling = [(function, count) for function, count in counted.most_common() if count < total]
        for function, count in telling[:shown]:
            print(f"  {count / total:>7.1%}  {function}")
