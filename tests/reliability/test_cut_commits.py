"""The connection is cut around COMMIT: the poster finds out by itself, or says that it cannot."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from guilder.core.clock import SystemClock
from guilder.core.errors import OutcomeUnknown, Unavailable
from guilder.domains.ledger.engine import Posted
from guilder.domains.ledger.ports import NotCommitted
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.domains.ledger.store.postgres import PostgresStore
from tests.reliability.checks import check_books, check_told
from tests.support.bank import ASSET, Bank, Reply, open_bank
from tests.support.books import read_books
from tests.support.fault_proxy import Cut, FaultProxy, proxied
from tests.support.load import Client, Told
from tests.support.sizes import SEED, of, sizes, tell


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """There is no connection to cut on SQLite; the simulator loses its replies."""
    return postgres_url


def seldom(cuts: list[Cut], share: float) -> Callable[[], Cut]:
    draw = random.Random(SEED)
    return lambda: draw.choice(cuts) if draw.random() < share else Cut.NO


async def post_through(
    bank: Bank, url: str, proxy: FaultProxy, commits: int, resolve_seconds: float
) -> tuple[Told, list[Reply]]:
    """Clients on one poster behind the proxy, until so many COMMITs have gone by."""
    replies: list[Reply] = []
    told = Told()
    poster = Poster(PostgresStore(url, SystemClock(), resolve_seconds=resolve_seconds))
    poster.start()

    def enough() -> bool:
        return proxy.cuts.total() >= commits

    async def run(number: int) -> None:
        client = Client(bank, poster.submit, replies.append, told, stop=lambda: False)
        operations = 0
        while not enough():
            await client.operation(SEED, f"c.{number}.{operations}", "anything")
            operations += 1

    await asyncio.gather(*[run(number) for number in range(6)])
    await poster.stop()
    return told, replies


@sizes(150, 10_000)
@pytest.mark.heavy
async def test_a_commit_whose_reply_is_lost_is_resolved_by_the_poster(
    database_url: str, size: int
) -> None:
    bank = await open_bank(database_url)
    cuts = [Cut.AFTER, Cut.REPLY, Cut.REPLY, Cut.LATE, Cut.BEFORE]
    async with proxied(database_url, seldom(cuts, 0.4)) as (proxy, url):
        told, replies = await post_through(bank, url, proxy, size, 5.0)
    # Cut before it was sent four times in a row: given up, and truly so.
    check_told(told, {"unavailable"})
    transfers = await check_books(database_url, replies)
    counted = {cut.name: number for cut, number in proxy.cuts.items()}
    tell("cut commits", **counted, doubled=of(0, transfers), wrong=of(0, len(replies)),
         unavailable=told.troubles["unavailable"])  # fmt: skip
    assert min(proxy.cuts[cut] for cut in cuts) > 0


class Unresolved(PostgresStore):
    """A planted defect: a lost reply is taken for a lost commit, and the batch is run again."""

    async def _resolve(self, posted: Posted, cause: Exception) -> None:
        raise NotCommitted from cause


async def check_without_keys(url: str, store: type[PostgresStore], commits: int) -> None:
    """No key protects these: what was answered is booked once, what was refused not at all."""
    bank = await open_bank(url, customers=2)
    a, b = bank.customers
    answered: set[str] = set()
    refused: set[str] = set()
    cuts = [Cut.AFTER, Cut.REPLY, Cut.REPLY, Cut.LATE, Cut.BEFORE]
    async with proxied(url, seldom(cuts, 0.4)) as (_, through):
        poster = Poster(store(through, SystemClock()))
        poster.start()
        for number in range(commits):
            name = f"k{number}"
            try:
                await poster.submit(Unit([Posting(a, b, 1, ASSET, reference=name)]))
                answered.add(name)
            except OutcomeUnknown as unknown:
                raise AssertionError("not resolved within the time") from unknown
            except Unavailable:
                refused.add(name)
        await poster.stop()
    booked = Counter(t.reference for t in (await read_books(url)).transfers)
    doubled = [name for name in answered if booked[name] > 1]
    lost = [name for name in answered if booked[name] == 0]
    untrue = [name for name in refused if booked[name]]
    tell("commits without keys", doubled=of(len(doubled), len(answered)),
         lost=of(len(lost), len(answered)), untrue=of(len(untrue), len(refused)))  # fmt: skip
    assert not [*doubled, *lost, *untrue]


@sizes(60, 2_000)
async def test_the_poster_resolves_by_nonce_what_no_key_protects(
    database_url: str, size: int
) -> None:
    await check_without_keys(database_url, PostgresStore, size)


async def test_it_is_red_without_the_nonce(database_url: str) -> None:
    with pytest.raises(AssertionError):
        await check_without_keys(database_url, Unresolved, 30)


@sizes(120, 2_000)
async def test_when_it_cannot_be_resolved_a_retry_with_the_same_key_tells_the_truth(
    database_url: str, size: int
) -> None:
    bank = await open_bank(database_url)
    async with proxied(database_url, seldom([Cut.AFTER, Cut.REPLY, Cut.LATE], 0.4)) as (proxy, url):
        told, replies = await post_through(bank, url, proxy, size, 0.0)
    check_told(told, {"unavailable", "outcome_unknown"})
    assert told.troubles["outcome_unknown"] > 0
    transfers = await check_books(database_url, replies)
    tell("unresolved commits", unknown=told.troubles["outcome_unknown"], doubled=of(0, transfers))
