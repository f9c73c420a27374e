"""Many transfers in one request."""

from tests.golden.chapters.transfers import asked
from tests.golden.walk import NOBODYS, Body, Walk

PATH = "POST transfers/batches"


async def batches(walk: Walk) -> None:
    ada = walk.people["ada"]
    await walk.sign_in(ada)
    good = [
        asked(walk, "a", "bens", 10),
        asked(walk, "a", "b", 20, description="Two", reference="2"),
    ]
    mixed = [
        *good,
        asked(walk, "a", "b", 10**9),
        asked(walk, "a", "a", 1),
        asked(walk, "bens", "a", 1),
        asked(walk, "a", "euro", 1),
        asked(walk, "a", "b", 1) | {"to_account_id": NOBODYS},
        asked(walk, "a", "b", 30, idempotency_key="one of them"),
        asked(walk, "a", "b", 30, idempotency_key="one of them"),
        asked(walk, "a", "b", 31, idempotency_key="one of them"),
    ]
    await walk.ask(PATH, ada, {"transfers": good})
    await walk.ask(PATH, ada, {"transfers": mixed})
    await walk.ask(PATH, ada, {"transfers": mixed[2:3]}, note="none is accepted")
    await walk.ask(PATH, ada, {"atomic": True, "transfers": good})
    await walk.ask(PATH, ada, {"atomic": True, "transfers": mixed})
    await walk.ask(f"{PATH}?dry_run=true", ada, {"transfers": mixed})
    await walk.ask(f"{PATH}?dry_run=true", ada, {"atomic": True, "transfers": good}, key="batch")
    body = {"transfers": mixed[:3]}
    await walk.ask(PATH, ada, body, key="batch")
    await walk.ask(PATH, ada, body, key="batch", note="replayed")
    await walk.ask(PATH, ada, {"transfers": good}, key="batch", note="another")
    await walk.ask(PATH, ada, {"transfers": mixed[2:3]}, key="nothing of it")
    await walk.ask(PATH, ada, {"transfers": mixed[2:3]}, key="nothing of it", note="again")
    await walk.ask("GET transfers?limit=5", ada)
    await malformed(walk, good)


async def malformed(walk: Walk, good: list[Body]) -> None:
    ada = walk.people["ada"]
    bodies: tuple[Body, ...] = (
        {},
        {"transfers": []},
        {"transfers": None},
        {"transfers": {}},
        {"transfers": [None, 7, good[0]]},
        {"transfers": [{}]},
        {"transfers": [good[0] | {"amount": 0}, good[1] | {"memo": "x"}]},
        {"transfers": [good[0] | {"idempotency_key": ""}, good[1] | {"idempotency_key": "\u00e9"}]},
        {"transfers": good, "atomic": 1},
        {"transfers": good, "atomic": None, "label": "x"},
        {"transfers": [{}] * 30},
        {"transfers": good * 1_001},
    )
    for body in bodies:
        await walk.ask(PATH, ada, body)
    await walk.ask(f"{PATH}?dry_run=x", ada, {"transfers": good})
    await walk.ask(PATH, ada, {"transfers": good}, key="x" * 256)
    long = {"Content-Type": "application/json", "Content-Length": "8000001"}
    await walk.ask(PATH, ada, raw=b"{}", headers=long)
