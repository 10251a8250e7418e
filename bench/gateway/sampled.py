"""Runs the ``signalbox`` command and samples what it computes, every few milliseconds of its CPU time.

    python sampled.py OUTPUT ARGUMENTS...

SIGUSR1 begins (again); SIGUSR2 writes what was found: one line for each stack, outermost function first, functions
divided by semicolons, then how often it was seen. That is the folded form which flame graphs are made from. Time in C
counts for the function that called it. In the process itself, because a profiler outside must stop it for each look,
and where the machine is busy that takes longer than what is looked at.
"""

import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from signalbox.common.cli.root import main

_EVERY_S = 0.004
_PARTS = 3
"""How much of a file's path names a function's module."""


class Sampler:
    """Counts the stacks of the main thread."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._stacks: Counter[tuple[CodeType, ...]] = Counter()
        signal.signal(signal.SIGPROF, self._look)
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._write)

    def _begin(self, _number: int, _frame: FrameType | None) -> None:
        self._stacks.clear()
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        stack: list[CodeType] = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._stacks[tuple(stack)] += 1

    def _write(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        unfinished = self._output.with_name(f"{self._output.name}.unfinished")
        with unfinished.open("w") as file:
            for stack, count in self._stacks.items():
                file.write(f"{';'.join(_name(code) for code in reversed(stack))} {count}\n")
        unfinished.rename(self._output)


def _name(code: CodeType) -> str:
    return f"{code.co_qualname} ({'/'.join(Path(code.co_filename).parts[-_PARTS:])})"


if __name__ == "__main__":
    Sampler(Path(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    main()
