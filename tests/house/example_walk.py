"""Asks the bank that comes of docs/how-to/add-a-domain.md, in a copy of the project."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from guilder.db.migrate import upgrade
from tests.support.teller import Customer, answered, opened_desk, refused


async def main() -> None:
    """Ask both examples, as their owner and as a stranger."""
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/guilder.db"
        await upgrade(url)
        async with opened_desk(url, Path(folder)) as desk:
            ada, bob = await desk.sign_up(), await desk.sign_up()
            await activity(ada, bob)
            await notes(ada, bob)


async def activity(owner: Customer, stranger: Customer) -> None:
    account = await owner.open()
    path = f"/accounts/{account['id']}/activity"
    nothing = {"transaction_count": 0, "first_booked_at": None, "last_booked_at": None}
    assert await owner.read(path) == {"account_id": account["id"], **nothing}
    for amount in (100, 200, 300):
        await owner.deposit(account, amount)
    lines = (await owner.read(f"/accounts/{account['id']}/transactions"))["items"]
    booked = {"first_booked_at": lines[-1]["booked_at"], "last_booked_at": lines[0]["booked_at"]}
    expected = {"account_id": account["id"], "transaction_count": 3, **booked}
    assert await owner.read(path) == expected
    refused(await stranger.get(path), 404, "account_not_found")


async def notes(owner: Customer, stranger: Customer) -> None:
    first = await owner.post("/notes", {"text": "Call the bank."}, "key-1")
    again = await owner.post("/notes", {"text": "Call the bank."}, "key-1")
    assert answered(first, 201)["text"] == "Call the bank."
    assert (again.status_code, again.content) == (201, first.content)
    second = answered(await owner.post("/notes", {"text": "They called."}), 201)
    page = await owner.read("/notes", limit=1)
    rest = await owner.read("/notes", limit=1, cursor=page["next_cursor"])
    newest_first = sorted([first.json(), second], key=lambda note: str(note["id"]), reverse=True)
    assert (page["items"], rest["items"]) == (newest_first[:1], newest_first[1:])
    assert rest["has_more"] is False
    refused(await owner.post("/notes", {"text": ""}), 422, "validation_failed")
    assert (await stranger.read("/notes"))["items"] == []


if __name__ == "__main__":
    asyncio.run(main())
