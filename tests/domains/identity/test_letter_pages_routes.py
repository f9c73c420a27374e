"""The pages that letters lead to: same for all, and nothing in them but what they ask for."""

import re

import httpx
import pytest

PAGES = dict.fromkeys(
    ("/verify-email", "/reset-password", "/remove-factors", "/confirm-email", "/undo-email"),
    "text/html",
)
PARTS = {"/pages/letters.css": "text/css", "/pages/letters.js": "text/javascript"}


@pytest.mark.parametrize(("path", "kind"), [*PAGES.items(), *PARTS.items()])
async def test_a_page_may_load_only_what_the_bank_serves(
    client: httpx.AsyncClient, path: str, kind: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", PAGES)
async def test_all_that_a_page_asks_for_is_there(client: httpx.AsyncClient, path: str) -> None:
    page = (await client.get(path)).text
    assert "style=" not in page
    assert re.findall(r"<script>| on\w+=", page) == []
    found = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert set(found) == PARTS.keys()
    document = (await client.get("/openapi.json")).json()
    asked = re.findall(r'data-path="([^"]+)"', page)
    assert len(asked) == (1 if path in {"/confirm-email", "/undo-email"} else 2)
    for one in asked:
        assert "post" in document["paths"][f"/api/v1/{one}"]
