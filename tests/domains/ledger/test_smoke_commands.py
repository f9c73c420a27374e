from guilder.core.actor import SYSTEM
from guilder.core.clock import FixedClock
from guilder.db.engine import Database
from guilder.db.run import Runner
from guilder.domains.ledger import queries
from guilder.domains.ledger.commands import (
    Category,
    EnsureBankAccounts,
    OpenLedgerAccount,
    ensure_bank_accounts,
    open_ledger_account,
)
from guilder.domains.ledger.poster import Poster
from guilder.domains.ledger.rules.state import Posting, Unit
from guilder.domains.ledger.store.postgres import PostgresStore
from guilder.domains.ledger.store.sqlite import SqliteStore


async def test_a_deposit_and_a_transfer(database_url: str) -> None:
    clock = FixedClock(1_790_000_000_000_000)
    database = Database(database_url)
    runner = Runner(database, clock)
    bank = await runner.run(ensure_bank_accounts, EnsureBankAccounts("USD", clock.at_us), SYSTEM)
    a = await runner.run(
        open_ledger_account, OpenLedgerAccount("USD", Category.LIABILITY, "a", clock.at_us), SYSTEM
    )
    b = await runner.run(
        open_ledger_account, OpenLedgerAccount("USD", Category.LIABILITY, "b", clock.at_us), SYSTEM
    )
    store = (
        SqliteStore(database_url, clock) if database.sqlite else PostgresStore(database_url, clock)
    )
    poster = Poster(store)
    poster.start()
    r = await poster.submit(
        Unit(
            [
                Posting(
                    bank["settlement"], a.number, 1000, "USD", key=b"k" * 16, fingerprint=b"f" * 16
                )
            ]
        )
    )
    assert r.results[0].credit_after == 1000
    r = await poster.submit(
        Unit(
            [
                Posting(
                    bank["settlement"], a.number, 1000, "USD", key=b"k" * 16, fingerprint=b"f" * 16
                )
            ]
        )
    )
    assert r.results[0].status == "replayed"
    r = await poster.submit(
        Unit([Posting(a.number, b.number, 250, "USD"), Posting(a.number, b.number, 2500, "USD")])
    )
    assert [x.status for x in r.results] == ["created", "rejected"]
    r = await poster.submit(Unit([Posting(a.number, b.number, 1, "USD") for _ in range(100)]))
    await poster.stop()
    got = await runner.view(lambda v: queries.balances(v, [a.number, b.number]))
    assert (got[a.number].posted, got[b.number].posted) == (650, 350)
    await database.close()
