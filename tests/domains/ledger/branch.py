"""A branch of a small bank: one process's own pool, runner and store on a shared database."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate

from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.db.engine import Database
from guilder.db.run import Command, Runner
from guilder.db.unit_of_work import UnitOfWork, View
from guilder.domains.ledger import queries
from guilder.domains.ledger.commands import (
    Category,
    EnsureBankAccounts,
    OpenLedgerAccount,
    SetFlags,
    ensure_bank_accounts,
    open_ledger_account,
    set_flags,
)
from guilder.domains.ledger.queries import Balance, Totals
from guilder.domains.ledger.rules.state import AccountFlag, Posting, PostingResult, Unit
from tests.db import owner
from tests.domains.ledger.desk import NOW
from tests.support.bank import open_store

TABLES = (
    "ledger_transfers", "ledger_entries", "ledger_idempotency", "ledger_holds", "ledger_batches",
    "outbox",
)  # fmt: skip


class Branch:
    """Opens accounts, posts, and looks at what is stored."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FixedClock(NOW)
        self.database = Database(url)
        self.runner = Runner(self.database, self.clock)
        self.store = open_store(url, self.clock)
        self.settlement = 0

    async def start(self) -> None:
        self.settlement = (await self.bank("USD"))["settlement"]

    async def close(self) -> None:
        await self.store.close()
        await self.database.close()

    @property
    def sqlite(self) -> bool:
        return self.database.sqlite

    async def bank(self, asset: str) -> dict[str, int]:
        """The bank's own accounts of an asset."""
        return await self.do(ensure_bank_accounts, EnsureBankAccounts(asset, self.clock.at_us))

    async def do[C: Command, T](
        self, handler: Callable[[UnitOfWork, C], Coroutine[Any, Any, T]], command: C
    ) -> T:
        """Run a command as the bank itself."""
        return await self.runner.run(handler, command, SYSTEM)

    async def open(
        self, posted: int = 0, *, asset: str = "USD", category: Category = Category.LIABILITY,
        floor: int | None = 0, ceiling: int | None = None,
    ) -> int:  # fmt: skip
        """An account with some money from settlement; gives its number."""
        opened = await self.do(
            open_ledger_account,
            OpenLedgerAccount(
                asset, category, "a customer", self.clock.at_us, floor=floor, ceiling=ceiling
            ),
        )
        if posted:
            own = await self.bank(asset)
            deposit = Posting(own["settlement"], opened.number, posted, asset)
            assert await self.said(deposit) == ["created"]
        return opened.number

    async def freeze(self, number: int, flags: AccountFlag = AccountFlag.FROZEN_DEBITS) -> None:
        await self.do(set_flags, SetFlags(number, add=int(flags)))

    async def thaw(self, number: int, flags: AccountFlag = AccountFlag.FROZEN_DEBITS) -> None:
        await self.do(set_flags, SetFlags(number, remove=int(flags)))

    async def post(self, *asked: Posting | Unit) -> list[PostingResult]:
        """Commit units in one batch; a bare posting is a unit of its own."""
        units = [one if isinstance(one, Unit) else Unit([one]) for one in asked]
        outcomes = await self.store.commit(units)
        return [result for outcome in outcomes for result in outcome.results]

    async def said(self, *asked: Posting | Unit) -> list[str]:
        """``created`` and ``replayed``, or the code of the refusal, of every posting."""
        return [r.status if r.refusal is None else r.refusal.code for r in await self.post(*asked)]

    async def ask[**P, T](
        self, query: Callable[Concatenate[View, P], Awaitable[T]], *args: P.args, **more: P.kwargs
    ) -> T:
        """The answer to a query."""
        return await self.runner.view(lambda view: query(view, *args, **more))

    async def totals(self, number: int, from_us: int, to_us: int) -> Totals:
        """The sums of a period: the same, whether all its lines are asked for or one."""
        whole = await self.ask(queries.period, number, from_us, to_us, 1_000)
        cut = await self.ask(queries.period, number, from_us, to_us, 1)
        assert cut.totals == whole.totals
        assert not whole.lines.has_more
        return whole.totals

    async def balance(self, number: int) -> Balance:
        return (await self.ask(queries.balances_of, [number]))[number]

    async def posted(self, *numbers: int) -> list[int]:
        """Natural posted balances."""
        found = await self.ask(queries.balances_of, numbers)
        return [found[number].posted for number in numbers]

    async def counts(self) -> dict[str, int]:
        """How many rows each table of history has."""
        return await owner.counts(self.url, *TABLES)

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Every row of a query, as the database's owner sees it."""
        return await owner.rows(self.url, statement)
