"""Pages of the audit trail where the clock stands still, and who may ask for them."""

from dataclasses import replace

import pytest

from guilder.core.errors import Forbidden, InvalidCursor
from guilder.core.page import Page, PageRequest
from guilder.core.permissions import Role
from guilder.domains.audit.queries import list_audit_events
from guilder.domains.audit.rules import AuditEvent, AuditFilter
from tests.db.house import TELLER, House, Note, write_note


async def page(house: House, request: PageRequest) -> Page[AuditEvent]:
    return await house.runner.view(
        lambda view: list_audit_events(view, TELLER, AuditFilter(), request)
    )


async def test_rows_of_one_instant_are_on_one_page_each(database_url: str) -> None:
    house = House(database_url)
    for words in ("one", "two", "three"):
        await house.runner.run(write_note, Note(words), TELLER)
    numbers: list[int] = []
    cursor = None
    while True:
        part = await page(house, PageRequest(limit=2, after=cursor))
        numbers += [event.number for event in part.items]
        if part.next_cursor is None:
            break
        cursor = part.next_cursor
    assert numbers == [6, 5, 4, 3, 2, 1]
    await house.database.close()


@pytest.mark.parametrize("after", ["", "123", "-1.-1", "1234567890123456789.1", "1.1.1", "1.x"])
async def test_a_cursor_that_is_no_instant_and_number_is_refused(
    database_url: str, after: str
) -> None:
    house = House(database_url)
    with pytest.raises(InvalidCursor):
        await page(house, PageRequest(after=after))
    await house.database.close()


async def test_the_largest_instant_and_number_are_a_place(database_url: str) -> None:
    house = House(database_url)
    await house.runner.run(write_note, Note("one"), TELLER)
    largest = f"{10**18 - 1}.{10**18 - 1}"
    assert len((await page(house, PageRequest(after=largest))).items) == 2
    await house.database.close()


@pytest.mark.parametrize("role", [None, Role.USER, Role.READONLY])
async def test_only_who_may_read_the_trail_is_given_it(
    database_url: str, role: Role | None
) -> None:
    house = House(database_url)
    with pytest.raises(Forbidden):
        await house.runner.view(
            lambda view: list_audit_events(
                view, replace(TELLER, role=role), AuditFilter(), PageRequest()
            )
        )
    await house.database.close()
