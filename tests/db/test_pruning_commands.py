"""Events, deliveries and kept answers go when their time is over, and nothing else does."""

import pytest
from sqlalchemy import text

from guilder.core.clock import DAY_US
from guilder.db.pruning import prune_events, prune_keys
from guilder.db.run import Runner
from tests.db import owner
from tests.db.house import TELLER, House, Note, created, key, write_note

ROUTES = {"test.noted": ("a", "b")}
KEPT = 90 * DAY_US


@pytest.fixture
def runner(house: House) -> Runner:
    return Runner(house.database, house.clock, ROUTES)


async def settle(house: House, words: str, state: str = "delivered") -> None:
    """Let the deliveries of a note have that state."""
    async with house.database.begin() as connection:
        await connection.execute(
            text(
                "UPDATE outbox_deliveries SET state = :s WHERE event_id IN "
                "(SELECT id FROM outbox WHERE payload LIKE :w)"
            ),
            {"s": state, "w": f'%"{words}"%'},
        )


async def test_events_go_with_their_deliveries_once_they_are_old(
    house: House, runner: Runner
) -> None:
    for words, state in (("old", "delivered"), ("dead", "dead"), ("waits", "pending")):
        await runner.run(write_note, Note(words), TELLER)
        await settle(house, words, state)
    house.clock.advance(days=90)
    assert await prune_events(house.database, house.clock, KEPT) == 0
    house.clock.advance(seconds=1)
    await runner.run(write_note, Note("new"), TELLER)
    await settle(house, "new")
    assert await prune_events(house.database, house.clock, KEPT) == 2
    assert await house.notes() == ["waits", "new"]
    assert await owner.counts(house.url, "outbox_deliveries") == {"outbox_deliveries": 4}
    assert await prune_events(house.database, house.clock, KEPT) == 0


async def test_kept_answers_go_and_their_keys_are_new_again(house: House) -> None:
    async def once(words: str) -> object:
        return await house.runner.run_once(
            write_note, Note(words), TELLER, key("k", words), created
        )

    await once("first")
    house.clock.advance(days=30, seconds=1)
    assert await prune_keys(house.database, house.clock, 30 * DAY_US) == 1
    assert await house.kept_keys() == 0
    await once("second")  # under the same key, and no conflict
    assert await prune_keys(house.database, house.clock, 30 * DAY_US) == 0
    assert await house.notes() == ["first", "second"]


async def test_no_run_takes_more_than_its_share(house: House) -> None:
    for number in range(5):
        await house.runner.run_once(write_note, Note("x"), TELLER, key(str(number)), created)
    house.clock.advance(days=100)
    events = [await prune_events(house.database, house.clock, KEPT, 2) for _ in range(4)]
    keys = [await prune_keys(house.database, house.clock, KEPT, 2) for _ in range(4)]
    assert events == keys == [2, 2, 1, 0]
