"""The rules of this moment: from the gateway's file and from tables, read again within seconds of a change.

What the tables held is kept on disk too, so that a gateway that starts while the database is away goes by the rules
that it knew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import ValidationError

from signalbox.common.auth import KeyRing
from signalbox.common.errors import SignalboxError
from signalbox.common.kept_files import write_atomically
from signalbox.common.settings import SettingsError
from signalbox.contracts.identity import KeyRecord
from signalbox.llm_gateway.gateway_file import GatewayFile
from signalbox.llm_gateway.money import PriceBook, Prices
from signalbox.llm_gateway.policies.rules import BudgetRule, LimitRule, PolicySet
from signalbox.llm_gateway.policies.store import PolicyStore, StoredPolicies

_LOG = logging.getLogger(__name__)

POLL_S = 1.0
"""Well under the 5 s within which a change holds everywhere."""

FIRST_S = 1.0
"""How long a start waits for the tables."""


class PolicySource:
    """Knows the rules, and hands keys and prices on to those who go by them.

    Deployments are not re-read: they are the catalog's, from the start.
    """

    def __init__(
        self,
        path: Path | None,
        declared: Callable[[], GatewayFile],
        store: PolicyStore,
        kept: Path,
        *,
        keys: KeyRing,
        prices: Prices,
        own_keys: tuple[KeyRecord, ...] = (),
    ) -> None:
        """Read the file.

        Args:
            path: the gateway's file.
            declared: reads it; what it holds without one.
            store: the tables.
            kept: where to keep what they hold.
            keys: gets the file's keys.
            prices: gets the tables' and the file's prices.
            own_keys: keys that are set otherwise.

        Raises:
            SettingsError: the file cannot be used.
        """
        self._path = path
        self._declared = declared
        self._store = store
        self._kept = kept
        self._keys = keys
        self._prices = prices
        self._own_keys = own_keys
        self._seen = _stamp(path)
        self._file = declared()
        self._stored = StoredPolicies()
        self._current = PolicySet()
        self._reachable = True
        self._tasks: list[asyncio.Task[None]] = []
        self._reading = asyncio.Lock()
        self._apply()

    def current(self) -> PolicySet:
        """The rules; the same object until something in them changes."""
        return self._current

    def declares(self, rule: LimitRule | BudgetRule) -> bool:
        """Whether the file has a rule of this kind and name for the tenant or for all."""
        declared = self._file.limits if isinstance(rule, LimitRule) else self._file.budgets
        return any(each.name == rule.name and each.tenant in {rule.tenant, "*"} for each in declared)

    async def start(self) -> None:
        """Read the tables, or what was kept of them while the database is away, then follow changes."""
        self._stored = await asyncio.to_thread(self._read_kept)
        self._apply()
        try:
            async with asyncio.timeout(FIRST_S):
                await self.refresh()
        except (SignalboxError, TimeoutError):
            self._note(reachable=False)
        self._tasks = [
            asyncio.create_task(self._follow(self._look_at_file), name="policies-file"),
            asyncio.create_task(self._follow(self._look_at_tables), name="policies-tables"),
        ]

    async def stop(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the tables now.

        Raises:
            StorageUnavailable: the database is away.
        """
        async with self._reading:
            stored = await self._store.load()
            if stored == self._stored:
                return
            self._stored = stored
            self._apply()
            await asyncio.to_thread(self._keep, stored)

    async def _follow(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await look()
            except Exception:  # noqa: BLE001 - logged with its traceback
                # A bug must not leave the gateway with stale rules for ever.
                _LOG.exception("policies cannot be read; the next look may")

    async def _look_at_file(self) -> None:
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._file = await asyncio.to_thread(self._declared)
        except SettingsError as error:
            _LOG.error("the changed file is not used, what it said before still holds: %s", error)
            return
        self._apply()
        _LOG.info("the gateway's file was read again")

    async def _look_at_tables(self) -> None:
        try:
            if await self._store.version() != self._stored.version:
                await self.refresh()
            self._note(reachable=True)
        except SignalboxError:
            self._note(reachable=False)

    def _apply(self) -> None:
        file, stored = self._file, self._stored
        limits = [*file.limits, *(rule for rule in stored.limits if not self.declares(rule))]
        budgets = [*file.budgets, *(rule for rule in stored.budgets if not self.declares(rule))]
        self._current = PolicySet(
            self._current.version + 1, tuple(limits), tuple(budgets), tuple(file.tenants)
        )
        self._keys.replace([*self._own_keys, *(key.record() for key in file.keys)], source="file")
        self._prices.replace(PriceBook(stored.prices), PriceBook(file.prices))

    def _note(self, *, reachable: bool) -> None:
        if reachable != self._reachable:
            self._reachable = reachable
            _LOG.warning(
                "limits and budgets are read from the database again"
                if reachable
                else "limits and budgets cannot be read from the database; those known still hold"
            )

    def _read_kept(self) -> StoredPolicies:
        try:
            return StoredPolicies.model_validate_json(self._kept.read_bytes())
        except FileNotFoundError:
            return StoredPolicies()
        except (OSError, ValidationError) as error:
            _LOG.warning("ignoring a damaged file of kept policies: %s", error)
            return StoredPolicies()

    def _keep(self, stored: StoredPolicies) -> None:
        try:
            write_atomically(self._kept, stored.model_dump_json(by_alias=True).encode())
        except OSError as error:
            _LOG.warning("cannot keep the policies on disk: %s", error)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What differs when a file was changed or replaced; None without a file."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
