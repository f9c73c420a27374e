"""Faults before and after every step of a batch, drawn from a seed, on both engines.

Whatever happens, clients repeat until they are answered; then the books must equal, row for row,
those of a run without faults over the same accepted units in the same order.
"""

import asyncio
from typing import Any

import pytest

from guilder.core.clock import FixedClock
from guilder.core.errors import Unavailable
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Unit, UnitResult
from tests.reliability.checks import check_books, check_told
from tests.support.bank import Reply, key_of, open_bank, open_store, reply_of
from tests.support.books import Books, read_books
from tests.support.faults import Dice, PlantedError, faulty_store
from tests.support.load import Client, Told
from tests.support.sizes import SEED, of, sizes, tell

NOW = 1_790_000_000_000_000
CLIENTS = 5


class Simulation:
    """Clients on one poster whose store fails at random; remembers every unit and reply."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.seed = seed
        self.dice = Dice(seed, 0.02)
        self.replies: list[Reply] = []
        self.told = Told()
        self.units: dict[bytes, Unit] = {}

    async def run(self, operations: int) -> None:
        bank = await open_bank(self.url, customers=4, each=100_000, clock=FixedClock(NOW))
        poster = Poster(faulty_store(self.url, FixedClock(NOW), self.dice))
        poster.start()

        async def submit(unit: Unit) -> UnitResult:
            self.units[_key(unit)] = unit
            try:
                return await poster.submit(unit)
            except PlantedError as error:
                raise Planted() from error

        async def client(number: int) -> None:
            caller = Client(bank, submit, self.replies.append, self.told, lambda: False)
            for operation in range(operations // CLIENTS):
                await caller.operation(self.seed, f"s.{number}.{operation}", "anything")

        await asyncio.gather(*[client(number) for number in range(CLIENTS)])
        await poster.stop()

    async def repeat(self, url: str) -> None:
        """The accepted units once more, in the order of the books, one at a time, faultless."""
        bank = await open_bank(url, customers=4, each=100_000, clock=FixedClock(NOW))
        accepted = {reply.name: reply for reply in self.replies if reply.accepted}
        store = open_store(url, FixedClock(NOW))
        for reply in sorted(accepted.values(), key=_first_number):
            unit = self.units[key_of(reply.name)]
            results = await store.commit([unit])
            assert reply_of(reply.name, results[0]) == reply
        await store.close()
        assert bank.customers


class Planted(Unavailable):
    """What a client makes of an answer 500: it asks again under the same key."""

    code = "planted"


def _key(unit: Unit) -> bytes:
    found = unit.key or unit.postings[0].key
    assert found is not None
    return found


def _first_number(reply: Reply) -> int:
    return min(row[1] for row in reply.rows if row[1])


def comparable(books: Books) -> dict[str, list[Any]]:
    """Every row that does not depend on how the units were split into batches."""
    return {
        "transfers": [tuple(row) for row in books.transfers],
        "entries": [tuple(row) for row in books.entries],
        "balances": [tuple(row) for row in books.balances],
        "idempotency": [tuple(row) for row in books.idempotency],
        "holds": [tuple(row) for row in books.holds],
        "limits": [tuple(row) for row in books.limits],
        "head": [(books.head.last_no, books.head.clock_us)],
    }


@pytest.mark.parametrize(
    "seed", [SEED, *[pytest.param(SEED + n, marks=pytest.mark.heavy) for n in (1, 2)]]
)
@sizes(150, 3_000)
async def test_faults_at_any_step_leave_the_books_of_a_run_without_faults(
    database_url: str, another_url: str, seed: int, size: int
) -> None:
    simulation = Simulation(database_url, seed)
    await simulation.run(size)
    check_told(simulation.told, {"unavailable", "outcome_unknown", "planted"})
    transfers = await check_books(database_url, simulation.replies)
    await simulation.repeat(another_url)
    with_faults = comparable(await read_books(database_url))
    without = comparable(await read_books(another_url))
    for table, rows in without.items():
        assert with_faults[table] == rows, f"{table} differs, seed {seed}"
    struck = simulation.dice.struck
    tell(
        "simulator", run=seed, transfers=transfers, faults=struck.total(), steps=len(struck),
        after_commit=struck["after commit"], differing=of(0, transfers),
        troubles=dict(simulation.told.troubles),
    )  # fmt: skip
    assert struck["after commit"]
    assert struck["before commit"]
