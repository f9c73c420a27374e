"""The bank's clock, products, opening accounts, and money from outside."""

from tests.golden.walk import NOBODYS, Walk


async def accounts(walk: Walk) -> None:
    ada, ben = walk.people["ada"], walk.people["ben"]
    for who in (ada, ben):
        await walk.sign_in(who)
    await clock(walk)
    await walk.ask("GET products", ada)
    await walk.ask("GET accounts", ada)
    await opening(walk)
    await deposits(walk)
    mine = walk.things["a"]["id"]
    await walk.ask(f"GET accounts/{mine}", ada)
    await walk.ask(f"HEAD accounts/{mine}", ada)
    await walk.ask(f"GET accounts/{mine.upper()}", ada)
    for wrong in (NOBODYS, "x", walk.things["bens"]["id"]):
        await walk.ask(f"GET accounts/{wrong}", ada)
    await walk.ask("GET accounts", ada)
    page = await walk.made("GET accounts?limit=2", ada)
    await walk.ask(f"GET accounts?limit=2&cursor={page['next_cursor']}", ada)
    await walk.ask("GET accounts?limit=1&offset=1", ada)
    for query in ("cursor=YQ", "cursor=*", "limit=0", "limit=1e1", "status=active"):
        await walk.ask(f"GET accounts?{query}", ada)


async def clock(walk: Walk) -> None:
    ada, path = walk.people["ada"], "PUT simulations/clock"
    await walk.ask("GET simulations/clock", ada)
    await walk.ask(path, ada, {"now": "2027-03-01T00:00:00Z"})
    await walk.ask(path, ada, {"now": "2027-01-30T12:00:00+01:00"}, note="back, nothing is booked")
    await walk.ask(path, ada, {"advance_seconds": 60})
    await walk.ask("GET simulations/clock", ada)
    for body in (
        {},
        {"now": "2027-03-01T00:00:00Z", "advance_seconds": 1},
        {"now": "2027-03-01"},
        {"now": "2027-02-30T00:00:00Z"},
        {"now": 7},
        {"now": "9999-01-01T00:00:00Z"},
        {"advance_seconds": -1},
        {"advance_seconds": 1.0},
        {"advance_seconds": 10**12, "x": None},
    ):
        await walk.ask(path, ada, body)


async def opening(walk: Walk) -> None:
    ada, things = walk.people["ada"], walk.things
    path = "POST accounts"
    usd = {"type": "checking", "currency": "USD"}
    things["a"] = await walk.made(path, ada, usd)
    things["b"] = await walk.made(path, ada, usd | {"type": "savings", "name": " Rainy days "})
    things["euro"] = await walk.made(path, ada, usd | {"currency": "EUR", "name": None})
    things["yen"] = await walk.made(path, ada, usd | {"currency": "JPY"})
    things["bens"] = await walk.made(path, walk.people["ben"], usd | {"name": "Secret \u2603"})
    keyed = usd | {"name": "Once"}
    await walk.ask(path, ada, keyed, key="open")
    await walk.ask(path, ada, keyed, key="open", note="replayed")
    await walk.ask(path, ada, usd, key="open", note="another")
    await walk.ask(path, walk.people["ben"], keyed, key="open", note="another's key")
    for key in ("", "x" * 256, "a\u00e9"):
        await walk.ask(path, ada, keyed, key=key)
    for change in (
        {"type": "loan"},
        {"type": None},
        {"currency": "usd"},
        {"currency": 840},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 101, "type": "x", "currency": "x", "balance": 100},
    ):
        await walk.ask(path, ada, usd | change)


async def deposits(walk: Walk) -> None:
    ada, things = walk.people["ada"], walk.things
    path = "POST simulations/deposits"
    sound = {"account_id": things["a"]["id"], "amount": 100_000, "currency": "USD"}
    await walk.ask(f"{path}?dry_run=true", ada, sound)
    await walk.ask(path, ada, sound | {"description": " Salary "}, key="salary")
    await walk.ask(path, ada, sound | {"description": " Salary "}, key="salary", note="replayed")
    await walk.ask(path, ada, sound, key="salary", note="another")
    yen = {"account_id": things["yen"]["id"], "currency": "JPY"}
    await walk.ask(path, ada, sound | yen)
    for change in (
        {"amount": 0},
        {"amount": 2**53},
        {"amount": 2**53 - 1, "account_id": things["euro"]["id"], "currency": "EUR"},
        {"amount": "1"},
        {"currency": "EUR"},
        {"currency": "XXX"},
        {"account_id": NOBODYS},
        {"account_id": things["bens"]["id"]},
        {"account_id": "x", "amount": None, "description": "x" * 256, "reference": "r"},
    ):
        await walk.ask(path, ada, sound | change)
    await walk.ask(f"{path}?dry_run=yes", ada, sound)
    await walk.ask("PUT simulations/clock", ada, {"now": "2027-01-30T12:00:00Z"}, note="back")
