"""A page of another origin calls the bank: one that the bank allows, and one that it does not."""

import sys
from typing import Any

from playwright.sync_api import Page

from tests.browser.walks.chrome import chromium

CALLS = """async (base) => {
    const told = [];
    const ask = async (method, path, body, headers) => {
        try {
            const answer = await fetch(base + path, {
                method, body: body && JSON.stringify(body),
                headers: { ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
            });
            told.push([answer.status, answer.headers.get("X-Request-Id") !== null]);
            return answer.status === 204 ? null : await answer.json();
        } catch (error) {
            told.push([error.name, false]);
            return null;
        }
    };
    const login = { email: "origin@example.test", password: "correct horse battery staple" };
    await ask("POST", "/api/v1/users", login, {});
    const session = await ask("POST", "/api/v1/sessions", login, {});
    const bearer = { Authorization: `Bearer ${session ? session.access_token : "none"}` };
    const account = { type: "checking", currency: "EUR" };
    await ask("POST", "/api/v1/accounts", account, { ...bearer, "Idempotency-Key": "one" });
    await ask("GET", "/api/v1/accounts?limit=10", null, bearer);
    await ask("DELETE", "/api/v1/sessions/current", null, bearer);
    return told;
}"""


def called(page: Page, origin: str, base: str) -> Any:
    page.goto(origin)
    return page.evaluate(CALLS, base)


def main(base: str, allowed: str, other: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        refused = called(page, other, base)
        assert refused == [["TypeError", False]] * 5, refused
        answered = called(page, allowed, base)
        assert answered == [[201, True], [201, True], [201, True], [200, True], [204, True]], (
            answered
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
