"""The letters that a bank writes into a folder, and what is asked over HTTP on the way to them."""

import asyncio
import email
import re
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import httpx
from fastapi import FastAPI
from sqlalchemy import text, update

from guilder.domains.identity.models import letters
from guilder.infra.process.settings import Settings
from tests.support.app import bank_of
from tests.support.constants import API, EMAIL, PASSWORD
from tests.support.waiting import LONG

PAGES = {"/verify-email", "/reset-password", "/remove-factors", "/confirm-email", "/undo-email"}


class Mailbox:
    """The folder that the bank writes its mail into."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[Path] = set()

    async def next(self, seconds: float = LONG) -> EmailMessage:
        """The next letter that has not been read; waits for it."""
        async with asyncio.timeout(seconds):
            while not (new := self.unread()):
                await asyncio.sleep(0.02)
        self._read.add(new[0])
        return email.message_from_bytes(new[0].read_bytes(), policy=default)

    async def token(self, subject: str) -> str:
        """The token in the next letter, which must have that subject."""
        letter = await self.next()
        assert letter["Subject"] == subject
        return token_in(letter)

    def unread(self) -> list[Path]:
        """Letters that have not been read, oldest first."""
        found = set(self._folder.glob("*.eml")) - self._read
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def subjects(self) -> list[str]:
        """Of all letters that have not been read, which are read by it."""
        found = self.unread()
        self._read.update(found)
        return sorted(
            str(email.message_from_bytes(path.read_bytes(), policy=default)["Subject"])
            for path in found
        )


def text_of(letter: EmailMessage) -> str:
    """What people read."""
    body = letter.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def token_in(letter: EmailMessage) -> str:
    found = re.search(r"http://[^/]+(/[\w-]+)#token=([\w-]{43})(?:&email=\S+)?\s", text_of(letter))
    assert found is not None
    assert found[1] in PAGES
    return found[2]


def with_mail(url: str, folder: Path, **more: object) -> Settings:
    """A bank that writes its mail into the folder ``mail``."""
    values = {
        "env": "test", "data_dir": folder, "database_url": url, "rate_limits": False,
        "mail_url": f"file:{folder / 'mail'}", **more,
    }  # fmt: skip
    return Settings.model_validate(values)


async def post(client: httpx.AsyncClient, path: str, **body: object) -> httpx.Response:
    return await client.post(f"{API}/{path}", json=body)


async def sign_up(client: httpx.AsyncClient, address: str = EMAIL) -> None:
    answer = await post(client, "users", email=address, password=PASSWORD)
    assert (answer.status_code, answer.json()["email_verified"]) == (201, False)


async def proved(client: httpx.AsyncClient, box: Mailbox, address: str = EMAIL) -> None:
    await sign_up(client, address)
    token = await box.token("Confirm your e-mail address")
    assert (await post(client, "email-verifications", token=token)).status_code == 201


async def delivered(app: FastAPI) -> None:
    """Wait until nothing is due, so that the absence of a letter means something."""
    due = text(
        "SELECT count(*) FROM outbox_deliveries WHERE state = 'pending'"
        " AND (due_at <= :n OR claim IS NOT NULL)"
    )
    async with asyncio.timeout(LONG):
        now = {"n": bank_of(app).clock.now_us()}
        while await bank_of(app).runner.view(lambda view: view.scalar(due, now)):
            await asyncio.sleep(0.02)


async def passed(app: FastAPI, seconds: int) -> None:
    """Let every letter be so much older, once those under way have arrived."""
    await delivered(app)
    us = seconds * 1_000_000
    values = {"expires_at": letters.c.expires_at - us, "sent_at": letters.c.sent_at - us}
    async with bank_of(app).database.begin() as connection:
        await connection.execute(update(letters).values(values))
