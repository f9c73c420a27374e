"""Any split of a scenario into batches gives the same rows, versions and refusals everywhere.

``GUILDER_PROPERTY_EXAMPLES`` sets how many scenarios each test draws; the printed seed of a
failure reproduces it.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.db.engine import Database
from guilder.db.postgres import postgres_dsn
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger import commands
from guilder.domains.ledger.ports import Store
from guilder.domains.ledger.rules.state import Unit, UnitResult
from guilder.domains.ledger.store.postgres import PostgresStore
from guilder.domains.ledger.store.sqlite import SqliteStore
from guilder.domains.ledger.verify import verify_ledger
from tests.domains.ledger.scenarios import (
    START,
    Advance,
    Bounds,
    Flags,
    SetLimit,
    Step,
    fresh,
    new_model,
    scenarios,
)

EXAMPLES = int(os.environ.get("GUILDER_PROPERTY_EXAMPLES", "60"))
ROWS = {
    "ledger_transfers": "id, kind, debit_account, credit_account, amount, booked_at, asset,"
    " value_on, ref_id, group_id",
    "ledger_entries": "account_id, transfer_id, delta, balance_after, version, value_on",
    "ledger_idempotency": "key, fingerprint, transfer_id",
    "ledger_balances": "account_id, debits, credits, debits_pending, credits_pending, version",
    "ledger_holds": "id, remaining, state",
}
ORDER = {
    "ledger_entries": "transfer_id, delta, account_id",
    "ledger_idempotency": "key",
    "ledger_balances": "account_id",
}


class Bank:
    """One database that starts every scenario empty but for the same five accounts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FixedClock(START)
        self.loop = asyncio.Runner()
        self.database = Database(url)
        self.runner = Runner(self.database, self.clock)
        self.store: Store
        if self.database.sqlite:
            self.store = SqliteStore(url, self.clock)
        else:
            self.store = PostgresStore(url, self.clock)
        self.loop.run(self._open())

    async def _open(self) -> None:
        for index, (asset, category, floor) in enumerate(
            [("USD", "asset", None), *[("USD", "liability", 0)] * 3, ("EUR", "liability", 0)], 1
        ):
            opened = await self.runner.run(
                commands.open_ledger_account,
                commands.OpenLedgerAccount(
                    asset, commands.Category(category), "", START, floor=floor
                ),
                SYSTEM,
            )
            assert opened.number == index

    def play(self, steps: list[Step], cuts: list[bool]) -> tuple[list[Any], dict[str, Any]]:
        """Reset, execute with a batch boundary where ``cuts`` says, and read everything back."""
        return self.loop.run(self._play(steps, cuts))

    async def _play(self, steps: list[Step], cuts: list[bool]) -> tuple[list[Any], dict[str, Any]]:
        await self.reset()
        self.clock.at_us = START
        outcomes: list[Any] = []
        waiting: list[Unit] = []
        for index, step in enumerate(steps):
            if isinstance(step, Unit):
                waiting.append(fresh(step))
                if not cuts[index % len(cuts)]:
                    continue
            outcomes += await self.flush(waiting)
            if not isinstance(step, Unit):
                await self.settle(step)
        outcomes += await self.flush(waiting)
        report = await self.runner.view(verify_ledger)
        assert report.broken is None, report.broken
        return outcomes, await self.rows()

    async def flush(self, waiting: list[Unit]) -> list[Any]:
        units, waiting[:] = list(waiting), []
        if not units:
            return []
        results = await self.store.commit(units)
        return [plainly(unit, result) for unit, result in zip(units, results, strict=True)]

    async def settle(self, step: Step) -> None:
        if isinstance(step, Advance):
            self.clock.at_us += step.microseconds
            return
        async with self.database.begin() as connection:
            uow = UnitOfWork(connection, SYSTEM, self.clock.at_us)
            if isinstance(step, Flags):
                flags = 7 & ~step.flags
                await commands.set_flags(uow, commands.SetFlags(step.account, step.flags, flags))
            elif isinstance(step, Bounds):
                bounds = commands.SetBounds(step.account, step.floor, step.ceiling)
                await commands.set_bounds(uow, bounds)
            elif isinstance(step, SetLimit):
                limit = (step.account, step.period, step.max_amount, step.max_count)
                await commands.set_limit(uow, commands.SetLimit(*limit))

    async def rows(self) -> dict[str, Any]:
        async with self.database.view() as connection:
            return {
                table: [
                    tuple(row)
                    for row in await connection.exec_driver_sql(
                        f"SELECT {columns} FROM {table} ORDER BY {ORDER.get(table, 'id')}"
                    )
                ]
                for table, columns in ROWS.items()
            }

    async def reset(self) -> None:
        if self.database.sqlite:
            async with self.database.begin() as connection:
                for (name,) in await connection.exec_driver_sql(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ):
                    await connection.exec_driver_sql(f"DROP TRIGGER {name}")
                for statement in _RESET:
                    zeroed = statement.format(zeros="zeroblob(32)")
                    await connection.exec_driver_sql(zeroed)
            return
        owner = await asyncpg.connect(postgres_dsn(self.url))
        reset = ";".join(_RESET).format(zeros="decode(repeat('00', 32), 'hex')")
        await owner.execute(f"SET session_replication_role = replica;{reset}")
        await owner.close()

    def close(self) -> None:
        self.loop.run(self.store.close())
        self.loop.run(self.database.close())
        self.loop.close()


_RESET = [
    *[
        f"DELETE FROM ledger_{table}"
        for table in ("transfers", "entries", "search", "idempotency", "holds", "limits", "batches")
    ],
    "DELETE FROM outbox",
    "UPDATE ledger_balances SET debits = 0, credits = 0, debits_pending = 0, credits_pending = 0,"
    " version = 0, flags = 0, ceiling = NULL, floor = 0 WHERE account_id > 1",
    "UPDATE ledger_balances SET debits = 0, credits = 0, debits_pending = 0, credits_pending = 0,"
    " version = 0, flags = 0 WHERE account_id = 1",
    "UPDATE ledger_head SET last_no = 0, last_batch = 0, clock_us = 0, chain = {zeros}",
]


def plainly(unit: Unit, outcome: UnitResult) -> list[Any]:
    """Results in the model's words."""
    said: list[Any] = []
    for r in outcome.results:
        if r.refusal is not None:
            said.append(("rejected", r.refusal.code))
        elif unit.dry_run and r.status == "created":
            said.append(("dry", r.amount, r.debit_after, r.credit_after))
        else:
            said.append((r.status, r.number, r.booked_at, r.amount, r.debit_after, r.credit_after))
    return said


def modelled(steps: list[Step]) -> tuple[list[Any], dict[str, Any]]:
    """What the reference model says of a scenario."""
    model = new_model()
    taken = [model.take(step) for step in steps]
    outcomes = [outcome for outcome in taken if outcome is not None]
    books = model.books
    holds = [(n, h["left"], h["state"]) for n, h in sorted(books.holds.items())]
    return outcomes, {
        "ledger_transfers": books.transfers,
        "ledger_entries": sorted(books.entries, key=lambda e: (e[1], e[2], e[0])),
        "ledger_idempotency": sorted(
            (key, print_, first[1] if first[0] == "created" else None)
            for key, (print_, first) in books.keys.items()
        ),
        "ledger_balances": [
            (n, a.debits, a.credits, a.held_out, a.held_in, a.version)
            for n, a in sorted(books.accounts.items())
        ],
        "ledger_holds": holds,
    }


@pytest.fixture(scope="module")
def sqlite_bank(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    path = tmp_path_factory.mktemp("property") / "guilder.db"
    shutil.copyfile(sqlite_template, path)
    bank = Bank(f"sqlite:///{path}")
    yield bank
    bank.close()


@pytest.fixture(scope="module")
def postgres_bank(postgres_server: Any) -> Iterator[Bank]:
    url = postgres_server.clone()
    bank = Bank(url)
    yield bank
    bank.close()
    postgres_server.drop(url)


def check(bank: Bank, steps: list[Step], cuts: list[bool]) -> None:
    outcomes, rows = modelled(steps)
    found_outcomes, found_rows = bank.play(steps, cuts)
    assert found_outcomes == outcomes
    for table, wanted in rows.items():
        assert found_rows[table] == wanted, table


every_split = st.lists(st.booleans(), min_size=1, max_size=24)
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.timeout(3600)
@given(steps=scenarios(), cuts=every_split)
@thorough
def test_any_split_equals_the_model_on_sqlite(
    sqlite_bank: Bank, steps: list[Step], cuts: list[bool]
) -> None:
    check(sqlite_bank, steps, cuts)


@pytest.mark.timeout(3600)
@given(steps=scenarios(), cuts=every_split)
@thorough
@pytest.mark.heavy
def test_any_split_equals_the_model_on_postgres(
    postgres_bank: Bank, steps: list[Step], cuts: list[bool]
) -> None:
    check(postgres_bank, steps, cuts)
