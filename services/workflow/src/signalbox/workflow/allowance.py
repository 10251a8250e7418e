"""Whether a turn may ask a model."""

from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[str | None]]
"""The stable code of what is exhausted; None when nothing is."""


class Allowance:
    """One turn's: found out when a model would be asked first, and then remembered."""

    def __init__(self, check: Check | None = None, refusal: str | None = None) -> None:
        self._check = check
        self._refusal = refusal

    async def refusal(self) -> str | None:
        """Why no model may be asked, as a stable code; None when one may.

        Raises:
            Unavailable: what was spent cannot be read.
        """
        if self._check is not None:
            check, self._check = self._check, None
            self._refusal = await check()
        return self._refusal


UNLIMITED = Allowance()
"""Where nothing is capped. It has nothing to remember."""
