"""Pages: bounds of the limit, cursors that were given out, offsets."""

import pytest

from tests.api.plumbing import client_of, make_app, problem

MOVES = "/api/v1/moves"


async def test_pages_follow_each_other_to_the_end() -> None:
    async with client_of(make_app()) as client:
        seen: list[str] = []
        cursor = None
        for _ in range(10):
            params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(MOVES, params=params)).json()
            seen += page["items"]
            assert page["has_more"] is (page["next_cursor"] is not None)
            if not page["has_more"]:
                break
            cursor = page["next_cursor"]
        assert seen == ["1", "2", "3", "4", "5", "6", "7"]


async def test_offset_skips() -> None:
    async with client_of(make_app()) as client:
        assert (await client.get(f"{MOVES}?offset=5")).json()["items"] == ["6", "7"]
        cursor = (await client.get(f"{MOVES}?limit=3")).json()["next_cursor"]
        found = await client.get(f"{MOVES}?cursor={cursor}&offset=0&limit=100")
        assert found.json()["items"] == ["4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("query", "name", "code"),
    [
        *((f"limit={wrong}", "limit", "out_of_range") for wrong in ("0", "101", "-1", "9" * 18)),
        *(
            (f"limit={wrong}", "limit", "wrong_type")
            for wrong in ("", "1.0", "1e1", "%2B1", "1_0", "%D9%A3", "ten", "9" * 30)
        ),
        ("offset=-1", "offset", "out_of_range"),
        ("offset=100001", "offset", "out_of_range"),
        ("cursor=Mw&offset=1", "offset", "not_with_cursor"),
    ],
)
async def test_page_that_cannot_be_is_refused(query: str, name: str, code: str) -> None:
    async with client_of(make_app()) as client:
        body = problem(await client.get(f"{MOVES}?{query}"), 422, "validation_failed")
        [error] = body["errors"]
        assert (error["parameter"], error["code"]) == (name, code)


@pytest.mark.parametrize("cursor", ["", "!", "%C3%A9", "Mw", "x" * 75, "x" * 3000, "%20"])
async def test_a_cursor_that_nobody_was_given_is_refused(cursor: str) -> None:
    async with client_of(make_app()) as client:
        problem(await client.get(f"{MOVES}?cursor={cursor}"), 400, "invalid_cursor")


async def test_a_cursor_is_taken_with_another_limit_and_in_any_order() -> None:
    async with client_of(make_app()) as client:
        cursor = (await client.get(f"{MOVES}?limit=3")).json()["next_cursor"]
        for query in (f"limit=1&cursor={cursor}", f"cursor={cursor}&limit=1", f"cursor={cursor}"):
            assert (await client.get(f"{MOVES}?{query}")).json()["items"][0] == "4"
