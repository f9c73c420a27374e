"""The bank in a real browser: passkeys, pages of other origins, and those that letters lead to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.conftest import Browser
from tests.cli.serving import environment, serving

pytestmark = [pytest.mark.heavy, pytest.mark.integration]


class Page(BaseHTTPRequestHandler):
    """An empty page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Elsewhere</title>")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def elsewhere() -> Iterator[str]:
    """The origin of a page that is not the bank's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()


def test_a_passkey_is_made_and_used_at_the_bank_of_make_run(
    browser: Browser, sqlite_url: str, tmp_path: Path
) -> None:
    with serving(tmp_path, environment(sqlite_url, tmp_path), name="demo") as bank:
        browser.walks("passkeys", f"http://localhost:{bank.port}")


def test_a_page_of_an_allowed_origin_calls_the_bank_and_no_other_does(
    browser: Browser, sqlite_url: str, tmp_path: Path
) -> None:
    with elsewhere() as allowed, elsewhere() as other:
        values = environment(sqlite_url, tmp_path, CORS_ORIGINS=allowed)
        with serving(tmp_path, values) as bank:
            browser.walks("origins", bank.base, allowed, other)


def test_the_pages_that_letters_lead_to(browser: Browser, sqlite_url: str, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    values = environment(sqlite_url, tmp_path, MAIL_URL=f"file:{mail}", RATE_LIMITS="off")
    with serving(tmp_path, values) as bank:
        browser.walks("pages", f"http://localhost:{bank.port}", mail, tmp_path)
