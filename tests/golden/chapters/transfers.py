"""Transfers one by one: posted, replayed, tried out, refused, read again."""

from guilder.core.actor import SYSTEM
from guilder.domains.ledger.commands import SetBounds, SetFlags, SetLimit, set_bounds, set_flags
from guilder.domains.ledger.commands import set_limit as bound_limit
from guilder.domains.ledger.queries import bank_account
from guilder.domains.ledger.rules.state import AccountFlag, Kind, Posting, Unit
from tests.golden.walk import NOBODYS, Body, Walk

PATH = "POST transfers"


def asked(walk: Walk, source: str, target: str, amount: object, **more: object) -> Body:
    sides = {
        "from_account_id": walk.things[source]["id"],
        "to_account_id": walk.things[target]["id"],
    }
    return {**sides, "amount": amount, **more}


async def ledger_number(walk: Walk, name: str) -> int:
    """The number of an account inside the ledger."""
    wanted = walk.things[name]["account_number"]
    known = await walk.office.directory.resolve([wanted])
    return known[wanted].number


async def transfers(walk: Walk) -> None:
    ada = walk.people["ada"]
    await walk.sign_in(ada)
    words = {"description": " Rent \u2603 ", "reference": "R-1", "metadata": {"b": "2", "a": "1"}}
    first = await walk.made(PATH, ada, asked(walk, "a", "bens", 12_345, **words))
    await walk.ask(PATH, ada, asked(walk, "a", "b", 1_000, currency="USD"))
    number = {"to_account_number": walk.things["bens"]["account_number"], "to_account_id": None}
    await walk.ask(PATH, ada, asked(walk, "a", "bens", 1, **number, description="", metadata={}))
    await walk.ask(f"{PATH}?dry_run=true", ada, asked(walk, "a", "bens", 5, **words), key="pay")
    await walk.ask(PATH, ada, asked(walk, "a", "bens", 5, **words), key="pay")
    await walk.ask(PATH, ada, asked(walk, "a", "bens", 5, **words), key="pay", note="replayed")
    await walk.ask(PATH, ada, asked(walk, "a", "bens", 6, **words), key="pay", note="another")
    await walk.ask(f"{PATH}?dry_run=false", ada, asked(walk, "a", "bens", 7))
    await malformed(walk)
    await refused(walk)
    await past_the_api(walk)
    await reading(walk, first["id"])


async def malformed(walk: Walk) -> None:
    ada = walk.people["ada"]
    changes: tuple[Body, ...] = (
        {"amount": 0}, {"amount": -1}, {"amount": 2**53}, {"amount": 1.0}, {"amount": "1"},
        {"amount": True}, {"amount": None}, {"currency": "usd"}, {"from_account_id": "x"},
        {"to_account_id": 7}, {"to_account_id": None}, {"description": "x" * 256},
        {"description": "a\nb"}, {"reference": "x" * 65}, {"metadata": {"a": 1}},
        {"metadata": {"x" * 41: "a"}}, {"metadata": {"a": "x" * 501}}, {"metadata": []},
        {"metadata": {str(n): "" for n in range(21)}}, {"metadata": {" a": "1", "a ": "2"}},
        {"to_account_id": None, "to_account_number": "12"},
        {"to_account_number": walk.things["b"]["account_number"]}, {"memo": "x"},
        {"amount": 0, "from_account_id": None, "a/b~c": 1, "x" * 200: 1},
    )  # fmt: skip
    for change in changes:
        await walk.ask(PATH, ada, asked(walk, "a", "b", 1) | change)
    for raw in (
        b"", b"{", b"amount=1", b'{"amount": 1,}', b'{"amount": NaN}', b'{"amount": 1e400}',
        b'{"amount": 1, "amount": 2}', b'{"description": "\\ud800"}', b"\xff", b"\xef\xbb\xbf{}",
        b'{"description": "a\\u0000b"}', b"[" * 40 + b"]" * 40, b"[]", b"null", b"7",
    ):  # fmt: skip
        await walk.ask(PATH, ada, raw=raw, headers={"Content-Type": "application/json"})
    for kind in ("text/plain", "application/vnd.x+json", "application/json; charset=latin-1", ""):
        await walk.ask(PATH, ada, raw=b"{}", headers={"Content-Type": kind})
    long = {"Content-Type": "application/json", "Content-Length": "1000001"}
    await walk.ask(PATH, ada, raw=b"{}", headers=long)
    await walk.ask(PATH, ada, raw=b"{}", headers=long | {"Content-Length": "x"})
    for query in ("dry_run=1", "dry_run=", "dryrun=true", "dry_run=%00", "a=1" + "&a=1" * 50):
        await walk.ask(f"{PATH}?{query}", ada, asked(walk, "a", "b", 1))
    for key in ("", "x" * 256, "a\u00e9", "a\tb"):
        await walk.ask(PATH, ada, asked(walk, "a", "b", 1), key=key)


async def refused(walk: Walk) -> None:
    ada = walk.people["ada"]
    for source, target, more in (
        ("a", "a", {}),
        ("a", "b", {"from_account_id": NOBODYS}),
        ("a", "b", {"to_account_id": NOBODYS}),
        ("bens", "a", {}),
        ("bens", "a", {"amount": 10**9}),
        ("a", "euro", {}),
        ("a", "euro", {"currency": "EUR"}),
        ("a", "b", {"currency": "EUR"}),
        ("a", "b", {"amount": 10**9}),
        ("euro", "a", {"currency": "EUR"}),
        ("a", "b", {"to_account_id": None, "to_account_number": "000000000000"}),
    ):
        await walk.ask(PATH, ada, asked(walk, source, target, 1) | more)
    await walk.ask(f"{PATH}?dry_run=true", ada, asked(walk, "a", "b", 10**9))


async def past_the_api(walk: Walk) -> None:
    """What the ledger can do and no operation asks for yet: freezes, limits, holds, reversals."""
    ada, office = walk.people["ada"], walk.office
    a, b = await ledger_number(walk, "a"), await ledger_number(walk, "b")
    ask = asked(walk, "a", "b", 1_001)
    for add, remove in (
        (AccountFlag.FROZEN_DEBITS, 0),
        (AccountFlag.CLOSED, AccountFlag.FROZEN_DEBITS),
    ):
        await office.runner.run(set_flags, SetFlags(a, int(add), int(remove)), SYSTEM)
        await walk.ask(PATH, ada, ask)
    await office.runner.run(set_flags, SetFlags(a, remove=int(AccountFlag.CLOSED)), SYSTEM)
    await office.runner.run(bound_limit, SetLimit(a, "day", max_amount=1_000), SYSTEM)
    await walk.ask(PATH, ada, ask, note="over the limit of a day")
    await office.runner.run(bound_limit, SetLimit(a, "day"), SYSTEM)
    await office.runner.run(set_bounds, SetBounds(b, 0, 1_500), SYSTEM)
    await walk.ask(PATH, ada, ask, note="over the ceiling")
    await office.runner.run(set_bounds, SetBounds(b, 0, None), SYSTEM)
    fees = await office.runner.view(lambda view: bank_account(view, "USD", "fees"))
    assert fees is not None
    held = await office.poster.submit(Unit([Posting(a, fees, 500, "USD", Kind.HOLD)]))
    await office.poster.submit(Unit([Posting(a, fees, 250, "USD", Kind.HOLD)]))
    await walk.ask(f"GET accounts/{walk.things['a']['id']}", ada, note="held")
    number = held.results[0].number
    await office.poster.submit(Unit([Posting(0, 0, 300, "", Kind.CAPTURE_FINAL, ref=number)]))
    fee = await office.poster.submit(
        Unit([Posting(a, fees, 20, "USD", value_on=20_840, description="Fee, dated back")])
    )
    back = Posting(0, 0, 5, "", Kind.REVERSAL, ref=fee.results[0].number)
    await office.poster.submit(Unit([back]))


async def reading(walk: Walk, first: str) -> None:
    ada, ben = walk.people["ada"], walk.people["ben"]
    await walk.ask(f"GET transfers/{first}", ada)
    await walk.ask(f"HEAD transfers/{first}", ada)
    await walk.sign_in(ben)
    await walk.ask(f"GET transfers/{first}", ben, note="the payee")
    own = (await walk.made("GET transfers?limit=1", ada))["items"][0]["id"]
    await walk.ask(f"GET transfers/{own}", ben, note="a stranger")
    for wrong in (
        NOBODYS,
        "x",
        walk.things["a"]["id"],
        f"{first[:-1]}{(int(first[-1], 16) + 1) % 16:x}",
    ):
        await walk.ask(f"GET transfers/{wrong}", ada)
    await walk.ask("GET transfers", ada)
    await walk.ask("GET transfers", ben)
    page = await walk.made("GET transfers?limit=2", ada)
    await walk.ask(f"GET transfers?limit=2&cursor={page['next_cursor']}", ada)
    await walk.ask("GET transfers?limit=2&offset=3", ada)
    for query in ("cursor=YQ", "cursor=*", "limit=0", "offset=x", "account_id=1"):
        await walk.ask(f"GET transfers?{query}", ada)
