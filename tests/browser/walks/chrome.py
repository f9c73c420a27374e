"""Chromium, driven by the walks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that the test names; in a container its sandbox has nothing to build on."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=os.environ["CHROMIUM"],
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        try:
            yield found
        finally:
            found.close()


def asked(page: Page, method: str, path: str, body: Any = None, token: str = "") -> Any:
    """What the page's own script is answered: status and body."""
    return page.evaluate(
        """async ([method, path, body, token]) => {
            const headers = { "Content-Type": "application/json" };
            if (token) headers.Authorization = `Bearer ${token}`;
            const answer = await fetch(path, {
                method, headers, body: body === null ? undefined : JSON.stringify(body),
            });
            const text = await answer.text();
            return { status: answer.status, body: text ? JSON.parse(text) : null };
        }""",
        [method, path, body, token],
    )


def looked_at(browser: Browser, address: str, folder: Path, name: str) -> None:
    """Pictures of a page: light and dark, wide and as a phone; nothing runs out at the side."""
    for scheme in ("light", "dark"):
        for width, height in ((1200, 800), (390, 844)):
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.goto(address)
            page.screenshot(path=folder / f"{name}-{scheme}-{width}.png")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            page.close()
