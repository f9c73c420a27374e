"""The bank-wide test clock over HTTP: where it may be set, and that bookings follow it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.teller import Desk, answered, opened_desk, pointers, refused


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened_desk(database_url, tmp_path) as desk:
        yield desk


async def test_bookings_follow_the_clock_and_it_never_goes_back(desk: Desk) -> None:
    ada = await desk.sign_up()
    put = ada.client.put
    early = answered(await put("/simulations/clock", json={"now": "2031-02-27T23:00:00Z"}), 200)
    assert early["now"].startswith("2031-02-27T23:00:00")
    answered(await put("/simulations/clock", json={"now": "2031-01-31T12:00:00Z"}), 200)
    account = await ada.open(funds=500)
    back = await put("/simulations/clock", json={"now": "2031-01-30T00:00:00Z"})
    refused(back, 409, "clock_backwards")
    day = {"advance_seconds": 86_400}
    assert answered(await put("/simulations/clock", json=day), 200)["now"][:10] == "2031-02-01"
    second = await ada.deposit(account, 250)
    assert second["booked_at"].startswith("2031-02-01")
    path = f"/accounts/{account['id']}/statement"
    january = await ada.read(path, month="2031-01")
    february = await ada.read(path, month="2031-02")
    assert (january["starting_balance"], january["ending_balance"]) == (0, 500)
    assert (february["starting_balance"], february["ending_balance"]) == (500, 750)
    assert (await ada.read("/simulations/clock"))["now"][:10] == "2031-02-01"


async def test_the_clock_is_moved_on_once_for_its_key(desk: Desk) -> None:
    ada = await desk.sign_up()
    day, key = {"advance_seconds": 86_400}, {"Idempotency-Key": "a day"}
    before = (await ada.read("/simulations/clock"))["offset_seconds"]
    first, again = [
        await ada.client.put("/simulations/clock", json=body, headers=key)
        for body in (day, day | {"now": None})
    ]
    assert (first.status_code, again.status_code, first.content) == (200, 200, again.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await ada.read("/simulations/clock"))["offset_seconds"] == before + 86_400
    other = await ada.client.put(
        "/simulations/clock", json={"advance_seconds": 86_401}, headers=key
    )
    refused(other, 422, "idempotency_conflict")


async def test_the_clock_is_not_set_back_once_an_account_is_open(desk: Desk) -> None:
    """Nothing was booked, so it could be, and then every statement was refused."""
    ada = await desk.sign_up()
    put = ada.client.put
    answered(await put("/simulations/clock", json={"now": "2031-05-10T00:00:00Z"}), 200)
    account = await ada.open()
    back = await put("/simulations/clock", json={"now": "2031-04-10T00:00:00Z"})
    refused(back, 409, "clock_backwards")
    answered(await put("/simulations/clock", json={"advance_seconds": 60}), 200)
    path = f"/accounts/{account['id']}/statement"
    assert (await ada.read(path, month="2031-05"))["ending_balance"] == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/now"),
        ({"now": "2031-01-01T00:00:00Z", "advance_seconds": 1}, "/now"),
        ({"now": "yesterday"}, "/now"),
        ({"advance_seconds": -1}, "/advance_seconds"),
        ({"advance_seconds": 1.5}, "/advance_seconds"),
        ({"advance_seconds": 10**12}, "/advance_seconds"),
    ],
)
async def test_a_clock_that_makes_no_sense_is_refused(
    desk: Desk, body: dict[str, object], pointer: str
) -> None:
    ada = await desk.sign_up()
    answer = await ada.client.put("/simulations/clock", json=body)
    assert pointer in [name for name, _ in pointers(refused(answer, 422, "validation_failed"))]


async def test_the_end_of_time_is_refused(desk: Desk) -> None:
    ada = await desk.sign_up()
    answer = await ada.client.put("/simulations/clock", json={"now": "9999-12-31T00:00:00Z"})
    refused(answer, 422, "validation_failed")


async def test_strangers_and_production_have_no_clock(database_url: str, tmp_path: Path) -> None:
    async with opened_desk(database_url, tmp_path, env="production") as desk:
        refused(await desk.client().get("/simulations/clock"), 401, "unauthenticated")
        ada = await desk.sign_up()
        refused(await ada.client.get("/simulations/clock"), 404, "not_found")
        answer = await ada.client.put("/simulations/clock", json={"advance_seconds": 1})
        refused(answer, 404, "not_found")
