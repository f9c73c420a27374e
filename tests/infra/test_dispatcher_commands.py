"""The dispatcher: to everyone who wants it, in order, again when it fails, and not for ever."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.event import listen

from guilder.core.events import Delivery, Undeliverable
from guilder.infra.process.dispatcher import RetryPolicy
from tests.db import owner
from tests.infra.dispatch import PATIENCE, START, Mailed, Office, Told, Unheard
from tests.support.waiting import LONG


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    made = Office(database_url)
    yield made
    await made.close()


@pytest.fixture
async def sister(database_url: str, office: Office) -> AsyncIterator[Office]:
    """A second process with the same clock."""
    made = Office(database_url, office.clock)
    yield made
    await made.close()


async def fail(_delivery: Delivery) -> None:
    raise RuntimeError("canary")


async def hang(_delivery: Delivery) -> None:
    await asyncio.sleep(3600)


def fields(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, object]]:
    return [record.__dict__["fields"] for record in caplog.records if record.message == message]


async def test_everyone_gets_what_they_want_once_and_in_order(office: Office) -> None:
    await office.tell(Told("a", 1), Mailed("a", 2), Told("b", 3))
    await office.tell(Told("a", 4), Unheard("a", 5))
    assert await office.turn() == 7
    assert office.mail.got == {"a": [1, 2, 4], "b": [3]}
    assert office.log.got == {"a": [1, 4], "b": [3]}
    assert await office.turn() == 0
    assert {row.state for row in await office.rows()} == {"delivered"}
    assert len({delivery.key for delivery in office.mail.deliveries + office.log.deliveries}) == 7
    first = office.mail.deliveries[0]
    assert (first.type, first.created_at, first.attempt) == ("test.told", START, 1)


async def test_what_nobody_wants_costs_one_row_and_is_not_looked_at(office: Office) -> None:
    await office.tell(*[Unheard("a", number) for number in range(20)])
    assert await office.rows() == []
    assert await office.turn() == 0
    assert (await office.dispatcher.backlog()).lag_seconds == 0


@pytest.mark.parametrize(("event", "statements"), [(Unheard("a", 1), 1), (Mailed("a", 1), 3)])
async def test_a_record_costs_one_statement_when_nobody_wants_it(
    office: Office, event: Told, statements: int
) -> None:
    said: list[str] = []

    def hear(_c: object, _cursor: object, sql: str, *_rest: object) -> None:
        said.append(sql)

    listen(office.database.writer.sync_engine, "before_cursor_execute", hear)
    async with office.database.begin() as connection:
        uow = office.unit_of_work(connection)
        said.clear()
        await uow.record(event)
    assert len(said) == statements - (office.database.sqlite and statements > 1)


async def test_an_event_and_its_deliveries_are_written_both_or_neither(
    office: Office, database_url: str
) -> None:
    await owner.refuse_inserts(database_url, "outbox_deliveries", "NEW.stream = 'bad'")
    with pytest.raises(Exception, match="planted"):
        await office.tell(Told("good", 1), Told("bad", 2))
    counted = await owner.counts(database_url, "outbox", "outbox_deliveries")
    assert counted == {"outbox": 0, "outbox_deliveries": 0}


async def test_two_dispatchers_share_the_work_without_doubling(
    office: Office, sister: Office
) -> None:
    for number in range(30):
        await office.tell(Told(f"s{number % 5}", number), Told(f"t{number % 7}", 100 + number))

    async def dawdle(_delivery: Delivery) -> None:
        await asyncio.sleep(0.002)

    for reader in (office.mail, sister.mail, office.log, sister.log):
        reader.trouble = dawdle
    while sum(await asyncio.gather(office.turn(), sister.turn())):
        pass
    wanted = sorted([*range(30), *range(100, 130)])
    assert sorted(office.mail.numbers + sister.mail.numbers) == wanted
    assert sorted(office.log.numbers + sister.log.numbers) == wanted
    assert {row.attempts for row in await office.rows()} == {1}
    for got in (office.mail.got, sister.mail.got):
        assert all(numbers == sorted(numbers) for numbers in got.values())


async def test_what_fails_is_tried_again_after_a_rest_and_its_stream_waits(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await office.tell(Mailed("a", 1), Mailed("a", 2), Mailed("b", 3))

    async def fail_once(delivery: Delivery) -> None:
        if delivery.payload["number"] == 1 and delivery.attempt == 1:
            raise RuntimeError("canary")

    office.mail.trouble = fail_once
    await office.turn()
    assert office.mail.got == {"b": [3]}
    office.later(2.9)
    assert await office.turn() == 0
    office.later(2.2)
    await office.turn()
    assert office.mail.got == {"b": [3], "a": [1, 2]}
    assert await office.states() == [("delivered", 2), ("delivered", 1), ("delivered", 1)]
    keys = [d.key for d in office.mail.deliveries if d.payload["number"] == 1]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    (told,) = fields(caplog, "a delivery failed")
    assert (told["subscriber"], told["attempt"], told["error"]) == ("mail", 1, "RuntimeError")
    assert (await office.rows())[0].last_error == "RuntimeError"
    assert "canary" not in caplog.text + str(await office.rows())


async def test_a_subscriber_that_fails_holds_up_no_other(office: Office) -> None:
    office.mail.trouble = fail
    await office.tell(Told("a", 1), Told("a", 2))
    await office.turn()
    assert office.mail.got == {}
    assert office.log.got == {"a": [1, 2]}


async def test_a_stream_that_hangs_holds_up_no_other(office: Office) -> None:
    async def hang_in_a(delivery: Delivery) -> None:
        if delivery.stream == "a":
            await hang(delivery)

    office.mail.trouble = hang_in_a
    await office.tell(Mailed("a", 1), Mailed("a", 2), *[Mailed("b", n) for n in range(3, 15)])
    turn = asyncio.ensure_future(office.turn())
    async with asyncio.timeout(LONG):
        while len(office.mail.got["b"]) < 12:
            await asyncio.sleep(0.01)
    await office.tell(Mailed("c", 15))
    async with asyncio.timeout(LONG):
        while not office.mail.got["c"]:
            await asyncio.sleep(0.01)
    assert not turn.done()
    turn.cancel()


async def test_a_call_is_bounded(database_url: str) -> None:
    office = Office(database_url, retry_policy=RetryPolicy(call_timeout_seconds=0.05))
    office.mail.trouble = hang
    await office.tell(Mailed("a", 1))
    async with asyncio.timeout(LONG):
        await office.turn()
    assert (await office.rows())[0].last_error == "TimeoutError"
    await office.close()


async def test_after_the_last_attempt_it_is_dead_and_its_stream_goes_on(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_at_one(delivery: Delivery) -> None:
        if delivery.payload["number"] == 1:
            raise RuntimeError("canary")

    office.mail.trouble = fail_at_one
    await office.tell(Mailed("a", 1), Mailed("a", 2))
    for _ in range(PATIENCE.max_attempts):
        assert office.mail.got == {}
        assert (await office.dispatcher.backlog()).dead_letters == 0
        await office.turn()
        office.later(60)
    await office.turn()
    assert office.mail.got == {"a": [2]}
    assert await office.states() == [("dead", PATIENCE.max_attempts), ("delivered", 1)]
    assert (await office.dispatcher.backlog()).dead_letters == 1
    assert [told["event_id"] for told in fields(caplog, "a delivery is dead")] == [1]
    office.later(1e6)
    assert await office.turn() == 0


async def test_what_is_undeliverable_is_dead_at_once_and_says_why(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    async def give_up(_delivery: Delivery) -> None:
        raise Undeliverable("no such address")

    office.mail.trouble = give_up
    await office.tell(Mailed("a", 1))
    await office.turn()
    (row,) = await office.rows()
    assert (row.state, row.attempts) == ("dead", 1)
    assert row.last_error == "Undeliverable: no such address"
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert not record.exc_info


async def test_a_claim_that_runs_out_is_taken_over_and_the_late_one_is_not_believed(
    office: Office, sister: Office, caplog: pytest.LogCaptureFixture
) -> None:
    let_go, entered = asyncio.Event(), asyncio.Event()

    async def wait(_delivery: Delivery) -> None:
        entered.set()
        await let_go.wait()

    office.mail.trouble = wait
    await office.tell(Mailed("a", 1), Mailed("a", 2))
    slow = asyncio.ensure_future(office.turn())
    await entered.wait()
    assert await sister.turn() == 0
    office.later(PATIENCE.lease_seconds + 1)
    await sister.turn()
    assert sister.mail.got == {"a": [1, 2]}
    let_go.set()
    await slow
    assert await office.states() == [("delivered", 2), ("delivered", 1)]
    assert len(fields(caplog, "a delivery took longer than its lease")) == 1


async def test_a_record_that_fails_leads_to_a_repetition_and_to_no_loss(
    office: Office, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await office.tell(Mailed("a", 1), Mailed("a", 2))
    await plant_refusal(database_url)
    await office.turn()
    assert office.mail.got == {"a": [1]}
    assert [r.message for r in caplog.records] == ["a delivery could not be recorded"]
    await owner.execute(database_url, *REMOVED[database_url.split(":")[0]])
    assert await office.turn() == 0
    office.later(PATIENCE.lease_seconds + 1)
    await office.turn()
    assert office.mail.got == {"a": [1, 1, 2]}
    assert len({delivery.key for delivery in office.mail.deliveries}) == 2


REMOVED = {
    "sqlite": ("DROP TRIGGER planted",),
    "postgresql": ("DROP TRIGGER planted ON outbox_deliveries",),
}


async def plant_refusal(url: str) -> None:
    """Nothing can be recorded as delivered any more."""
    when = "NEW.state = 'delivered'"
    if url.startswith("sqlite"):
        await owner.execute(
            url, f"CREATE TRIGGER planted BEFORE UPDATE ON outbox_deliveries WHEN {when} "
            "BEGIN SELECT RAISE(ABORT, 'planted'); END",
        )  # fmt: skip
        return
    await owner.execute(
        url,
        "CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'planted'; END $$",
        "CREATE TRIGGER planted BEFORE UPDATE ON outbox_deliveries FOR EACH ROW "
        f"WHEN ({when}) EXECUTE FUNCTION planted()",
    )


async def test_an_event_that_kills_whoever_takes_it_is_dead_in_the_end(
    office: Office, sister: Office
) -> None:
    await office.tell(Mailed("a", 1), Mailed("a", 2))
    for _ in range(PATIENCE.max_attempts):
        (claimed,) = await office.deliveries.claim("mail", 8, 1_000_000)
        assert claimed.delivery.payload == {"number": 1}
        office.later(2)
    await sister.turn()
    assert sister.mail.got == {"a": [2]}
    assert await office.states() == [("dead", PATIENCE.max_attempts + 1), ("delivered", 1)]


async def test_no_transaction_is_open_during_a_call(office: Office, database_url: str) -> None:
    seen: list[object] = []

    async def write_past_us(_delivery: Delivery) -> None:
        # On SQLite this waits, and fails, while anybody else is in a writing transaction.
        await owner.execute(database_url, "UPDATE outbox SET stream = stream")
        if not office.database.sqlite:
            query = (
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'guilder' AND state LIKE 'idle in transaction%'"
            )
            seen.extend(await owner.rows(database_url, query))

    office.mail.trouble = write_past_us
    await office.tell(Mailed("a", 1))
    async with asyncio.timeout(LONG):
        await office.turn()
    assert office.mail.numbers == [1]
    assert seen == []


async def test_a_stop_ends_calls_in_time_and_gives_back_what_they_had(
    office: Office, sister: Office
) -> None:
    let_go, finished = asyncio.Event(), asyncio.Event()

    async def nearly_done(delivery: Delivery) -> None:
        if delivery.stream == "hanging":
            await hang(delivery)
        await let_go.wait()
        finished.set()

    office.mail.trouble = nearly_done
    await office.tell(Mailed("quick", 1), Mailed("hanging", 2), Mailed("hanging", 3))
    turn = asyncio.ensure_future(office.turn())
    while len(office.mail.deliveries) < 2:
        await asyncio.sleep(0.001)
    turn.cancel()
    stopping = asyncio.ensure_future(office.dispatcher.stop())
    let_go.set()
    async with asyncio.timeout(LONG):
        await stopping
    assert finished.is_set()
    assert await office.states() == [("delivered", 1), ("pending", 0), ("pending", 0)]
    await sister.turn()
    assert sister.mail.got == {"hanging": [2, 3]}


async def test_a_call_that_cancels_itself_counts_as_an_attempt(office: Office) -> None:
    async def cancel(_delivery: Delivery) -> None:
        raise asyncio.CancelledError

    office.mail.trouble = cancel
    await office.tell(Mailed("a", 1))
    async with asyncio.timeout(LONG):
        await office.turn()
    assert len(office.mail.deliveries) == 1
    assert await office.states() == [("pending", 1)]


async def test_what_is_claimed_while_it_stops_is_given_back(office: Office) -> None:
    await office.tell(Mailed("a", 1))
    turn = asyncio.ensure_future(office.turn())
    await asyncio.sleep(0)
    async with asyncio.timeout(LONG):
        await office.dispatcher.stop()
        await turn
    assert office.mail.deliveries == []
    assert await office.states() == [("pending", 0)]


async def test_the_lag_is_that_of_the_oldest_somebody_wants(office: Office) -> None:
    await office.tell(Unheard("a", 1))
    office.later(10)
    await office.tell(Told("a", 2))
    office.later(7)
    await office.tell(Told("b", 3))
    assert (await office.dispatcher.backlog()).lag_seconds == 7
    await office.turn()
    assert (await office.dispatcher.backlog()).lag_seconds == 0


async def test_order_within_a_stream_is_that_of_commits(postgres_url: str) -> None:
    """Ids are given out before commits: another stream goes ahead, the same one waits."""
    office, sister = Office(postgres_url), Office(postgres_url)
    async with office.database.begin() as connection:
        uow = office.unit_of_work(connection)
        await uow.record(Mailed("a", 1))
        await sister.tell(Mailed("b", 2))
        same = asyncio.ensure_future(sister.tell(Mailed("a", 3)))
        await sister.turn()
        assert sister.mail.got == {"b": [2]}
        await asyncio.sleep(0.1)
        assert not same.done()
    await same
    await sister.turn()
    assert sister.mail.got == {"b": [2], "a": [1, 3]}
    await office.close()
    await sister.close()
