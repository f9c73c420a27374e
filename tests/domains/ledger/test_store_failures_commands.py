"""What both stores do when a batch cannot be written: nothing of it is, and the next one is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from guilder.core.errors import Unavailable
from guilder.domains.ledger.ports import NotCommitted
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.domains.ledger.store.postgres import COPY_FROM
from tests.db import owner
from tests.domains.ledger.branch import Branch
from tests.domains.ledger.desk import pay
from tests.support.bank import open_store
from tests.support.books import problems, read_books

BUMP = "UPDATE ledger_balances SET version = version + 1 WHERE account_id = NEW.account_id"


@pytest.fixture
async def poster(branch: Branch) -> AsyncIterator[Poster]:
    """The branch's store with a poster before it."""
    made = Poster(branch.store)
    made.start()
    yield made
    await made.stop()
    branch.store = open_store(branch.url, branch.clock)


async def plant_a_version_bump(branch: Branch) -> None:
    """Something changes a balance behind the lock, between the reading and the writing."""
    if branch.sqlite:
        await owner.execute(
            branch.url, f"CREATE TRIGGER bump AFTER INSERT ON ledger_entries BEGIN {BUMP}; END"
        )
        return
    await owner.execute(
        branch.url,
        "CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {BUMP}; RETURN NEW; END $$",
        "CREATE TRIGGER bump AFTER INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION bump()",
    )


async def remove_the_version_bump(branch: Branch) -> None:
    await owner.execute(
        branch.url, "DROP TRIGGER bump" + ("" if branch.sqlite else " ON ledger_entries")
    )


async def test_a_balance_that_was_not_as_read_loses_the_batch_and_writes_nothing(
    branch: Branch,
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    before = await read_books(branch.url)
    await plant_a_version_bump(branch)
    with pytest.raises(NotCommitted, match="version"):
        await branch.said(*[pay(alice, bob, 1) for _ in range(COPY_FROM)])
    assert await read_books(branch.url) == before
    await remove_the_version_bump(branch)
    assert await branch.said(pay(alice, bob, 5)) == ["created"]


async def test_a_batch_that_is_always_lost_is_unavailable_in_the_end(
    branch: Branch, poster: Poster
) -> None:
    alice, bob = await branch.open(100), await branch.open()
    await plant_a_version_bump(branch)
    with pytest.raises(Unavailable):
        await poster.submit(Unit([pay(alice, bob, 1) for _ in range(COPY_FROM)]))
    await remove_the_version_bump(branch)
    outcome = await poster.submit(Unit([pay(alice, bob, 5)]))
    assert outcome.results[0].status == "created"


@pytest.mark.parametrize("count", [6, 4 * COPY_FROM])
@pytest.mark.parametrize(
    "poison",
    [
        Posting(0, 0, 5, "USD", description="half a pair: \ud800"),
        Posting(0, 0, 5, "USD", key="no bytes"),  # type: ignore[arg-type] # that is the poison
        Posting(0, 0, 0, "USD"),
        Posting(0, 0, -5, "USD"),
        Posting(0, 0, 5, "USD", value_on=2**70),
        Posting(0, 0, 5, "USD", value_on="tomorrow"),  # type: ignore[arg-type] # likewise
    ],
    ids=["text", "key", "nothing", "negative", "date-too-large", "date-no-number"],
)
async def test_one_bad_request_never_fails_its_neighbours(
    branch: Branch, poster: Poster, poison: Posting, count: int
) -> None:
    alice, bob = await branch.open(count), await branch.open()
    good = [Unit([pay(alice, bob, 1)]) for _ in range(count)]
    bad = [Unit([replace(poison, debit=branch.settlement, credit=bob)]) for _ in range(2)]
    units = [*good[: count // 2], bad[0], *good[count // 2 :], bad[1]]
    outcomes = await asyncio.gather(*map(poster.submit, units), return_exceptions=True)
    failed = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    assert failed == [count // 2, count + 1]
    assert not any(isinstance(outcomes[i], Unavailable) for i in failed)
    assert await branch.posted(alice, bob) == [0, count]
    assert problems(await read_books(branch.url)) == []
    again = await poster.submit(Unit([pay(branch.settlement, bob, 1)]))
    assert again.results[0].status == "created"


async def test_a_database_that_is_not_there_is_unavailable(branch: Branch) -> None:
    folder = branch.url.rpartition("/")[0] if branch.sqlite else ""
    address = folder if branch.sqlite else "postgresql://u:@/d?host=/nowhere/to/be/found"
    store = open_store(address, branch.clock)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await store.commit([Unit([])])
    await store.close()
