"""The checks themselves, apart from the tests: a planted defect must turn the very same red."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sqlalchemy import text

from guilder.core.actor import SYSTEM
from guilder.core.clock import SystemClock
from guilder.core.errors import Unavailable
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.db.unit_of_work import UnitOfWork
from guilder.domains.ledger.commands import SetFlags, SetLimit, post, set_flags, set_limit
from guilder.domains.ledger.models import balances, head
from guilder.domains.ledger.rules.state import AccountFlag, Posting, Unit, UnitResult
from guilder.domains.ledger.verify import Report, verify_ledger
from tests.support.bank import ASSET, Bank, Reply, named, open_bank, reply_of
from tests.support.books import broken_promises, problems, read_books
from tests.support.load import Told
from tests.support.sizes import SEED, of, tell
from tests.support.waiting import LONG
from tests.support.worker import Job
from tests.support.workers import Campaign, Crew

BACKPRESSURE = {"overloaded"}
"""What a healthy server may say besides results: nothing was done, come again."""


async def check_books(url: str, replies: list[Reply]) -> int:
    """The books are whole and keep what was acknowledged; gives the number of transfers.

    Our own auditor and ``guilder verify`` must agree that nothing is wrong.
    """
    books = await read_books(url)
    found = [*problems(books), *broken_promises(books, replies)]
    assert not found, "\n".join([f"{len(found)} problems, seed {SEED}", *found[:20]])
    report = await verified(url)
    assert report.broken is None, f"verify names {report.broken}, seed {SEED}"
    assert report.transfers == len(books.transfers)
    return report.transfers


async def verified(url: str) -> Report:
    """What ``guilder verify`` says."""
    database = Database(url)
    try:
        return await Runner(database, SystemClock()).view(verify_ledger)
    finally:
        await database.close()


def check_told(told: Told, allowed: set[str]) -> None:
    """Clients saw only refusals that the books explain, and only the given troubles."""
    unexpected = set(told.troubles) - allowed
    assert not unexpected, f"clients saw {dict(told.troubles)}, seed {SEED}"
    assert not told.wrong(), f"clients were told {dict(told.refusals)}, seed {SEED}"


_BOOKED = text("SELECT max(id) FROM ledger_transfers")


class Reader:
    """Reads whole-bank totals, each time in one view, and remembers what was wrong."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.reads = 0
        self.wrong: list[str] = []

    async def run(self, reads: int) -> None:
        """So many reads, or until one is wrong."""
        until = self.reads + reads
        database = Database(self.bank.url, pool_size=2)
        try:
            while self.reads < until and not self.wrong:
                async with database.view() as c:
                    rows = (await c.execute(balances.select())).all()
                    last_no = (await c.execute(head.select())).one().last_no
                    booked = await c.scalar(_BOOKED)
                self.reads += 1
                self.wrong.extend(self._judge(rows, last_no, booked or 0))
        finally:
            await database.close()

    def _judge(self, rows: Sequence[Any], last_no: int, booked: int) -> list[str]:
        wrong = []
        whole = owned = pending = entries = 0
        for b in rows:
            whole += b.credits - b.debits
            pending += b.credits_pending - b.debits_pending
            entries += b.version
            if b.account_id in self.bank.customers:
                owned += b.credits - b.debits
                if b.credits - b.debits - b.debits_pending < 0:
                    wrong.append(f"account {b.account_id} has a negative available balance")
        if whole or pending:
            wrong.append(f"the whole bank sums to {whole} posted and {pending} held, not to 0")
        if owned != self.bank.funded:
            wrong.append(f"customers own {owned} and were funded with {self.bank.funded}")
        if entries != 2 * last_no or booked != last_no:
            wrong.append(f"{entries} entries and {booked} transfers, the head says {last_no}")
        return wrong


@dataclass(frozen=True)
class PostThroughRunner:
    """Money moved by a command: the other door to the books."""

    action: ClassVar[str] = "test.post"
    unit: Unit


async def post_through_runner(uow: UnitOfWork, cmd: PostThroughRunner) -> UnitResult:
    return (await post(uow, SystemClock(), [cmd.unit]))[0]


class Officer:
    """Freezes, thaws and limits random customers, and pays, through the runner without a pause."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.changes = 0
        self.done = False
        self.replies: list[Reply] = []
        self.failed: list[Exception] = []

    async def run(self) -> None:
        """Until told to stop; whatever a command raises is a finding, for none may fail."""
        try:
            await self._govern()
        except Exception as error:  # noqa: BLE001 - the test asserts that there was none
            self.failed.append(error)

    async def _govern(self) -> None:
        draw = random.Random(SEED)
        database = Database(self.bank.url, pool_size=2)
        runner = Runner(database, SystemClock())
        try:
            while not self.done:
                number = draw.choice(self.bank.customers)
                freeze = draw.choice([AccountFlag.FROZEN_DEBITS, AccountFlag.FROZEN_CREDITS])
                await runner.run(set_flags, SetFlags(number, add=freeze), SYSTEM)
                await runner.run(set_flags, SetFlags(number, remove=freeze), SYSTEM)
                period = draw.choice(["transaction", "day", "month"])
                limit = draw.randint(1, 200_000)
                await runner.run(set_limit, SetLimit(number, period, limit), SYSTEM)
                await runner.run(set_limit, SetLimit(number, period), SYSTEM)
                debit, credit = draw.sample(self.bank.customers, 2)
                name = f"officer{self.changes}"
                unit = named(name, [Posting(debit, credit, 10, ASSET)])
                paid = await runner.run(post_through_runner, PostThroughRunner(unit), SYSTEM)
                self.replies.append(reply_of(name, paid))
                self.changes += 5
        finally:
            await database.close()


async def check_bank(url: str, crew: Crew, reads: int, defect: str | None = None) -> None:
    """Four processes pay each other while accounts are frozen, thawed and limited.

    Goes on until the clients have had many replies too; in a long run they rest now and then, so
    that there are more reads than transfers.
    """
    bank = await open_bank(url)
    pause = 0.05 if reads > 10_000 else 0.0
    campaign = Campaign(crew, [replace(job, pause=pause) for job in jobs(bank, 4, defect=defect)])
    reader, officer = Reader(bank), Officer(bank)
    governing = asyncio.create_task(officer.run())
    try:
        while reader.reads < reads or campaign.answered < min(2 * reads, 10_000):
            if reader.wrong or officer.failed:
                break
            campaign.raise_failures()
            await reader.run(50)
        told = await asyncio.to_thread(campaign.stop)
    finally:
        officer.done = True
        campaign.abandon()
        await governing
    assert not officer.failed, f"seed {SEED}: {officer.failed[0]!r}"
    assert not reader.wrong, f"read {reader.reads}, seed {SEED}: {reader.wrong}"
    check_told(told, BACKPRESSURE)
    transfers = await check_books(url, [*campaign.replies, *officer.replies])
    tell(
        "bank", wrong_reads=of(len(reader.wrong), reader.reads), transfers=transfers,
        changes=officer.changes, refusals=dict(told.refusals), troubles=dict(told.troubles),
    )  # fmt: skip


async def check_killed_workers(
    url: str, crew: Crew, kills: int, *, defect: str | None = None, workers: int = 4
) -> None:
    """SIGKILL to one worker after another, in the midst of its load."""
    bank = await open_bank(url)
    draw = random.Random(SEED)
    campaign = Campaign(crew, jobs(bank, workers, defect=defect))
    try:
        for _ in range(kills):
            wanted = campaign.answered + draw.randint(10, 60) * (6 if kills > 100 else 1)
            await asyncio.to_thread(campaign.wait_for_replies, wanted, LONG)
            await asyncio.sleep(draw.uniform(0, 0.01))
            await asyncio.to_thread(campaign.kill, draw.choice(campaign.busy(LONG)))
        told = await asyncio.to_thread(campaign.stop)
    finally:
        campaign.abandon()
    check_told(told, BACKPRESSURE)
    transfers = await check_books(url, campaign.replies)
    accepted = sum(reply.accepted for reply in campaign.replies)
    tell("killed workers", kills=kills, lost=of(0, accepted), transfers=transfers)


@dataclass(frozen=True)
class Storm:
    """So many names, each sent ``copies`` times from four processes."""

    keys: int
    copies: int = 5


async def check_storm(url: str, crew: Crew, storm: Storm, defect: str | None = None) -> None:
    """Exactly one transfer a key, and every copy of a key gets the same reply."""
    bank = await open_bank(url)
    draw = random.Random(SEED)
    names = [f"s{i}" for i in range(storm.keys)] * storm.copies
    draw.shuffle(names)
    size = -(-len(names) // 4)
    seconds = LONG + storm.keys // 50
    shares = [names[i : i + size] for i in range(0, len(names), size)]
    campaign = Campaign(
        crew,
        [
            Job("storm", url, list(bank.customers), SEED, clients=32, names=share, defect=defect,
                seconds=seconds, queues=i % 2 == 0)
            for i, share in enumerate(shares)
        ],
    )  # fmt: skip
    try:
        told = await asyncio.to_thread(campaign.finish, seconds + 10)
    finally:
        campaign.abandon()
    check_told(told, BACKPRESSURE)
    transfers = await check_books(url, campaign.replies)
    assert len(campaign.replies) == len(names)
    assert transfers == storm.keys + len(bank.customers), "not one transfer a key"
    tell("storm", keys=storm.keys, replies=len(names), doubled=of(0, storm.keys))


async def check_opposed(url: str, crew: Crew, transfers: int) -> None:
    """Two accounts pay each other from four processes, two each way."""
    bank = await open_bank(url, customers=2, each=100_000_000)
    started = time.monotonic()
    ops = -(-transfers // 16)
    mixes = ["forth", "back"] * 2
    campaign = Campaign(
        crew,
        [
            Job("load", url, list(bank.customers), SEED, f"w{i}", mix, ops=ops, seconds=1800)
            for i, mix in enumerate(mixes)
        ],
    )
    try:
        told = await asyncio.to_thread(campaign.finish, 1800)
    finally:
        campaign.abandon()
    check_told(told, BACKPRESSURE)
    await check_books(url, campaign.replies)
    assert told.accepted == ops * 16, f"refused: {told.refusals}"
    tell("opposed", deadlocks=of(0, told.accepted), seconds=f"{time.monotonic() - started:.1f}")


def jobs(bank: Bank, workers: int, *, defect: str | None = None, clients: int = 4) -> list[Job]:
    """Load without an end for each of ``workers``; half of them know no queue of writers."""
    return [
        Job("load", bank.url, list(bank.customers), SEED, f"w{i}", clients=clients, seconds=3600,
            defect=defect, queues=i % 2 == 0)
        for i in range(workers)
    ]  # fmt: skip


async def settled(database: Database) -> None:
    """Until the database answers again."""
    while True:
        try:
            await database.ping()
        except (Unavailable, TimeoutError):
            await asyncio.sleep(0.05)
        else:
            return
