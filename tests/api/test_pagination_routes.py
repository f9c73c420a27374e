"""Pages: bounds of the limit, cursors that were given out, offsets."""

import pytest

from guilder.core.page import encode_cursor
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
        cursor = encode_cursor("3")
        found = await client.get(f"{MOVES}?cursor={cursor}&offset=0&limit=100")
        assert found.json()["items"] == ["4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        *((f"limit={wrong}", "/limit", "out_of_range") for wrong in ("0", "101", "-1", "9" * 18)),
        *(
            (f"limit={wrong}", "/limit", "wrong_type")
            for wrong in ("", "1.0", "1e1", "%2B1", "1_0", "%D9%A3", "ten", "9" * 30)
        ),
        ("offset=-1", "/offset", "out_of_range"),
        ("offset=100001", "/offset", "out_of_range"),
        ("cursor=!", "/cursor", "cursor_invalid"),
        ("cursor=", "/cursor", "cursor_invalid"),
        ("cursor=%C3%A9", "/cursor", "cursor_invalid"),
        ("cursor=" + "x" * 3000, "/cursor", "too_long"),
        ("cursor=Mw&offset=1", "/offset", "not_with_cursor"),
    ],
)
async def test_page_that_cannot_be_is_refused(query: str, pointer: str, code: str) -> None:
    async with client_of(make_app()) as client:
        body = problem(await client.get(f"{MOVES}?{query}"), 422, "validation_failed")
        [error] = body["errors"]
        assert (error["pointer"], error["code"]) == (pointer, code)
