"""The pages that letters lead to, walked by somebody who clicks, reloads and clicks again."""

import email
import re
import sys
import time
from email.policy import default
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser.walks.chrome import asked, chromium, looked_at
from tests.browser.walks.passkeys import CREATE, authenticator, made

OLD, NEW = "gus@example.test", "gus.new@example.test"
PASSWORD = "correct horse battery staple"
SECOND = "another phrase for Gus"
THIRD = "a phrase after the theft"
DEAD = "This link is not complete, has expired or was used already."


class Walk:
    """One page of the browser, the mailbox, and where pictures go."""

    def __init__(self, base: str, mail: Path, pictures: Path, browser: Browser) -> None:
        self.base, self.mail, self.pictures, self.browser = base, mail, pictures, browser
        self.page = browser.new_page()
        self.read: set[Path] = set()
        self.token = ""

    def link(self, subject: str) -> str:
        """The link in the next letter of that subject; waits for it."""
        for _ in range(600):
            for path in set(self.mail.glob("*.eml")) - self.read:
                letter: Any = email.message_from_bytes(path.read_bytes(), policy=default)
                if letter["Subject"] == subject:
                    self.read.add(path)
                    text = letter.get_body(("plain",)).get_content()
                    found = re.search(r"http://\S+#token=\S+", text)
                    assert found, text
                    return found[0]
            time.sleep(0.1)
        raise AssertionError(f"no letter: {subject}")

    def opens(self, link: str, name: str = "") -> Page:
        """In a tab of its own; the token is not in the address, and a reload does not lose it."""
        if name:
            looked_at(self.browser, link, self.pictures, name)
        self.page.goto("about:blank")
        self.page.goto(link)
        button = self.page.locator("form[data-token] button")
        for _ in range(2):
            expect(button).to_be_visible()
            assert self.page.url == link.partition("#")[0], self.page.url
            self.page.reload()
        return self.page

    def clicks(self, said: str, *, bad: bool = False) -> None:
        self.page.locator("form:visible button").click()
        told = self.page.locator("#said")
        expect(told).to_contain_text(said)
        assert ("bad" in (told.get_attribute("class") or "")) is bad

    def signs_in(self, address: str, password: str) -> Any:
        login = {"email": address, "password": password}
        answer = asked(self.page, "POST", "/api/v1/sessions", login)
        self.token = answer["body"].get("access_token", "")
        return answer["status"]


def verifying(walk: Walk) -> None:
    made(walk.page, "users", {"email": OLD, "password": PASSWORD})
    link = walk.link("Confirm your e-mail address")
    walk.opens(link, "verify-email")
    walk.clicks("The e-mail address is confirmed.")
    walk.opens(link)
    walk.clicks("This e-mail address is confirmed already. You can sign in.")
    expect(walk.page.locator("form")).to_have_count(2)
    expect(walk.page.locator("form:visible")).to_have_count(0)
    looked_at(walk.browser, f"{walk.base}/verify-email", walk.pictures, "verify-email-none")


def resetting(walk: Walk) -> None:
    assert walk.signs_in(OLD, PASSWORD) == 201
    authenticator(walk.page)
    options = made(walk.page, "passkeys/registrations", None, walk.token)["public_key"]
    credential = walk.page.evaluate(CREATE, options)
    made(walk.page, "passkeys", {"name": "Laptop", "credential": credential}, walk.token)
    looked_at(walk.browser, f"{walk.base}/reset-password", walk.pictures, "reset-password-none")
    walk.page.goto(f"{walk.base}/reset-password")
    walk.page.get_by_label("E-mail address").fill(OLD)
    walk.clicks("If that address is known here, a letter is on its way to it.")
    link = walk.link("Set a new password")
    page = walk.opens(link, "reset-password")
    new_password(walk, OLD, SECOND, "The password is changed and all sessions have ended.")
    assert walk.signs_in(OLD, PASSWORD) == 401
    assert walk.signs_in(OLD, SECOND) == 201
    walk.opens(link)
    page.get_by_label("New password").fill(SECOND)
    walk.clicks("was used already", bad=True)
    expect(page.locator("#ask")).to_be_visible()


def new_password(walk: Walk, owner: str, password: str, said: str) -> None:
    """A form for a new password, as a browser that keeps passwords needs it."""
    page = walk.page
    username = page.locator("input[autocomplete=username]")
    assert username.input_value() == owner
    expect(username).to_be_hidden()
    field = page.get_by_label("New password")
    assert field.get_attribute("autocomplete") == "new-password"
    field.fill("guilderguilder")
    page.get_by_label("Show the password").check()
    assert field.get_attribute("type") == "text"
    walk.clicks("Use something else than the name of the bank", bad=True)
    page.screenshot(path=walk.pictures / "weak-password.png")
    field.fill(password)
    walk.clicks(said)


def removing(walk: Walk) -> None:
    link = walk.link("Your password was changed")
    walk.opens(link, "remove-factors")
    walk.clicks("The passkeys are removed and all sessions have ended.")
    assert walk.signs_in(OLD, SECOND) == 201
    assert asked(walk.page, "GET", "/api/v1/passkeys", None, walk.token)["body"]["items"] == []


def moving(walk: Walk) -> None:
    made(walk.page, "users/me/email-changes", {"email": NEW}, walk.token)
    link = walk.link("Confirm your new e-mail address")
    walk.opens(link, "confirm-email")
    walk.clicks("The e-mail address is changed.")
    walk.opens(link)
    walk.clicks("This e-mail address is confirmed already. You can sign in.")
    expect(walk.page.locator("#ask")).to_be_hidden()
    link = walk.link("Your e-mail address was changed")
    walk.opens(link, "undo-email")
    new_password(walk, OLD, THIRD, "The login has its old address again")
    assert walk.signs_in(NEW, SECOND) == 401
    assert walk.signs_in(OLD, THIRD) == 201
    page = walk.opens(link)
    page.get_by_label("New password").fill(THIRD)
    walk.clicks("was used already", bad=True)
    for name in ("confirm-email", "undo-email", "remove-factors"):
        looked_at(walk.browser, f"{walk.base}/{name}", walk.pictures, f"{name}-none")
        page.goto(f"{walk.base}/{name}")
        expect(page.locator("#ask")).to_contain_text(DEAD)


def main(base: str, mail: str, pictures: str) -> None:
    with chromium() as browser:
        walk = Walk(base, Path(mail), Path(pictures), browser)
        errors: list[str] = []
        walk.page.on("pageerror", lambda error: errors.append(str(error)))
        walk.page.goto(f"{base}/verify-email")
        verifying(walk)
        resetting(walk)
        removing(walk)
        moving(walk)
        assert errors == [], errors


if __name__ == "__main__":
    main(*sys.argv[1:])
