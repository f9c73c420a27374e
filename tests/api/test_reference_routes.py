"""The pages of the API's reference."""

import re

import pytest

from tests.api.plumbing import client_of, make_app, problem


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_reference_pages_are_whole_without_a_network(page: str) -> None:
    """Nothing in them comes from elsewhere, no script is written in them, and all is there."""
    async with client_of(make_app()) as client:
        response = await client.get(page)
        assert response.status_code == 200
        [policy] = response.headers.get_list("content-security-policy")
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert not re.search(r"<script>|//|\bon\w+=", response.text)
        found = re.findall(r'(?:src|href|spec-url)="([^"]+)"', response.text)
        assert len(found) >= 3
        for path in found:
            part = await client.get(path)
            assert (part.status_code, part.headers["x-content-type-options"]) == (200, "nosniff")
            assert part.headers["content-security-policy"].startswith("default-src 'none'; frame")


async def test_parts_of_the_reference_pages_have_their_types() -> None:
    async with client_of(make_app()) as client:
        for name, kind in (
            ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
            ("redoc.standalone.js", "text/javascript; charset=utf-8"),
            ("start.js", "text/javascript; charset=utf-8"),
            ("swagger-ui.css", "text/css; charset=utf-8"),
            ("favicon.png", "image/png"),
        ):
            part = await client.get(f"/docs/assets/{name}")
            assert part.headers["content-type"] == kind
            assert part.headers.get_list("cache-control") == ["public, max-age=3600"]
        for name in ("core.py", "__init__.py", "%2e%2e%2fcore.py", "swagger-ui.css.map"):
            problem(await client.get(f"/docs/assets/{name}"), 404, "not_found")
