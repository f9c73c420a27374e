"""What an account tells of its past: lines, balances, statements."""

from tests.golden.chapters.transfers import asked
from tests.golden.walk import NOBODYS, Walk

FILTERS = (
    "type=credit", "type=debit", "type=both", "min_amount=1000", "max_amount=20", "min_amount=0",
    "min_amount=20&max_amount=1000&type=debit", "max_amount=x", "q=RENT", "q=r-1", "q=%25", "q=",
    "q=" + "x" * 101, "status=posted", "status=pending", "status=held", "from=2027-01-31",
    "to=2027-01-30", "to=2027-01-29", "from=2027-01-30&to=2027-01-30",
    "from=2027-01-30T12:00:00Z", "to=2027-01-30T11:05:00%2B01:00", "from=x", "to=2027-02-30",
    "from=2027-01-30T12:00:00", "limit=0", "cursor=YQ", "cursor=*", "order=asc", "limit=2&offset=2",
)  # fmt: skip


async def history(walk: Walk) -> None:
    ada, ben = walk.people["ada"], walk.people["ben"]
    await walk.sign_in(ada)
    await walk.sign_in(ben)
    mine, bens = (f"accounts/{walk.things[name]['id']}" for name in ("a", "bens"))
    await walk.ask(f"GET {mine}/transactions", ada)
    await walk.ask(f"HEAD {mine}/transactions", ada)
    await walk.ask(f"GET {bens}/transactions", ben)
    page = await walk.made(f"GET {mine}/transactions?limit=2", ada)
    await walk.ask(f"GET {mine}/transactions?limit=2&cursor={page['next_cursor']}", ada)
    for query in FILTERS:
        three = "" if "limit" in query else "limit=3&"
        await walk.ask(f"GET {mine}/transactions?{three}{query}", ada)
    for part in ("transactions", "balance", "statement?month=2027-01"):
        for wrong in (bens, f"accounts/{NOBODYS}", "accounts/x"):
            await walk.ask(f"GET {wrong}/{part}", ada)
    await balances(walk, mine)
    await statements(walk, mine)


async def balances(walk: Walk, mine: str) -> None:
    ada = walk.people["ada"]
    await walk.ask(f"GET {mine}/balance", ada)
    await walk.ask(f"HEAD {mine}/balance", ada)
    for query in (
        "at=2027-01-30T11:05:00Z", "at=2027-01-01T00:00:00Z", "at=2100-01-01T00:00:00.5-10:00",
        "on=2027-01-22", "on=2027-01-21", "on=2027-01-30", "on=2100-01-01", "at=x", "at=2027-01-30",
        "on=2027-13-01", "on=x", "at=2027-01-30T12:00:00Z&on=2027-01-30", "of=2027-01-30",
    ):  # fmt: skip
        await walk.ask(f"GET {mine}/balance?{query}", ada)


async def statements(walk: Walk, mine: str) -> None:
    ada, path = walk.people["ada"], "PUT simulations/clock"
    await walk.ask(f"GET {mine}/statement?month=2027-01", ada)
    await walk.ask(f"GET {mine}/statement?month=2027-02", ada, note="not begun")
    await walk.ask(path, ada, {"now": "2027-02-28T23:59:50Z"})
    await walk.made("POST transfers", ada, asked(walk, "a", "b", 77, description="February"))
    await walk.ask(path, ada, {"advance_seconds": 60})
    await walk.made("POST transfers", ada, asked(walk, "b", "a", 7, description="March"))
    for month in ("2027-01", "2027-02", "2027-03", "2027-04", "2026-12"):
        await walk.ask(f"GET {mine}/statement?month={month}", ada)
    for query in (
        "",
        "?month=",
        "?month=2027-13",
        "?month=2027-1",
        "?month=x&x=1",
        "?month=2027-01-01",
    ):
        await walk.ask(f"GET {mine}/statement{query}", ada)
    await walk.ask(f"GET accounts/{walk.things['yen']['id']}/statement?month=2027-02", ada)
    await walk.ask(f"GET {mine}/transactions?limit=1", ada)
    await walk.ask(f"GET {mine}/balance?on=2027-02-28", ada)
    await walk.ask(path, ada, {"now": "2027-02-28T00:00:00Z"}, note="back")
