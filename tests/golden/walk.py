"""Somebody walks through the API and writes down every answer, and every mail that it caused."""

import asyncio
import email
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from sqlalchemy import text

from guilder.api.replies import API
from guilder.bootstrap import Bank, open_bank
from guilder.core.clock import FixedClock
from guilder.infra.process.settings import Settings
from guilder.main import create_app
from guilder.worker import jobs_of, jobs_running
from tests.golden.placeholders import Placeholders
from tests.support.app import PRODUCTION
from tests.support.asking import Answer, RawHeaders, ask

type Body = dict[str, Any]

NOTHING: Final = object()
"""In the place of a body: there is none."""
REQUEST_ID: Final = "golden"
PASSWORD: Final = "correct horse battery staple"
NOBODYS: Final = "01999999-0000-7000-8000-000000000001"
_STANDARD: Final = "\n".join(
    (
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
        "cache-control: no-store",
        f"x-request-id: {REQUEST_ID}",
    )
)
_DUE: Final = text(
    "SELECT count(*) FROM outbox_deliveries WHERE state = 'pending'"
    " AND (due_at <= :n OR claim IS NOT NULL)"
)
_ITEM_END: Final = re.compile(r"(?<=[}\]]),")


@dataclass
class Person:
    """Somebody with a login; ``token`` is of the session in which they act."""

    name: str
    password: str = PASSWORD
    token: str = ""
    refresh_token: str = ""
    id: str = ""
    session_id: str = ""

    @property
    def email(self) -> str:
        return f"{self.name}@example.test"


@dataclass
class Walk:
    """The walk so far: the pages of each chapter, and which operations have succeeded.

    ``office`` is a second process of the bank, as a worker is: it sends what is to be sent.
    """

    app: FastAPI
    office: Bank
    clock: FixedClock
    folder: Path
    people: dict[str, Person] = field(default_factory=dict)
    things: dict[str, Body] = field(default_factory=dict)
    pages: dict[str, list[str]] = field(default_factory=dict)
    succeeded: set[tuple[str, str]] = field(default_factory=set)
    letter: str = ""
    _names: Placeholders = field(default_factory=Placeholders)
    _read: set[Path] = field(default_factory=set)
    _page: list[str] = field(default_factory=list)

    def turn_to(self, chapter: str) -> None:
        """What comes now goes into this chapter."""
        self._page = self.pages[chapter] = []

    async def ask(
        self,
        line: str,
        who: Person | None = None,
        body: object = NOTHING,
        *,
        raw: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        shows: str = "all",
        note: str = "",
    ) -> Answer:
        """Ask by a line such as ``GET accounts?limit=1`` and write the answer down.

        A target without a leading slash is below the API's prefix. ``body`` is sent as JSON,
        ``raw`` as it stands. Of the answer ``shows`` all, a ``digest`` of the body or the
        ``status`` alone.
        """
        method, _, target = line.partition(" ")
        target = target if target.startswith("/") else f"{API}/{target}"
        told = dict(headers or {})
        if key is not None:
            told["Idempotency-Key"] = key
        sent = raw or b""
        if body is not NOTHING:
            sent = json.dumps(body, separators=(",", ":")).encode()
            told.setdefault("Content-Type", "application/json")
        self.clock.advance(seconds=1)
        answer = await ask(self.app, method, target, _raw_headers(told, who), sent)
        self._note_request(method, target, who, told, sent, note)
        self._note_answer(method, answer, shows)
        if 200 <= answer.status < 300:
            self.succeeded.add((method, target.partition("?")[0]))
        if method != "GET" and (answer.status < 300 or answer.status in {401, 403}):
            await self._deliver()
        return answer

    async def made(self, line: str, who: Person | None = None, body: object = NOTHING) -> Body:
        """The body of an answer that must be a success."""
        answer = await self.ask(line, who, body)
        assert 200 <= answer.status < 300, answer.body
        found: Body = answer.json()
        return found

    def remark(self, title: str, said: str) -> None:
        """Write something down that is no answer."""
        self._page.append(f"### {title}\n{self._names.conceal(said)}\n")

    async def sign_in(self, who: Person, **more: object) -> None:
        """Open a session and act in it from now on."""
        login = {"email": who.email, "password": who.password, **more}
        self.takes(who, await self.made("POST sessions", None, login))

    def takes(self, who: Person, body: Body) -> None:
        """Keep the tokens of an answer."""
        who.token, who.refresh_token = body["access_token"], body["refresh_token"]
        who.id, who.session_id = body["user"]["id"], body["session"]["id"]

    async def join(self, name: str) -> Person:
        """Somebody new, whose address is proved and who is signed in."""
        who = self.people[name] = Person(name)
        await self.made("POST users", None, {"email": who.email, "password": who.password})
        await self.made("POST email-verifications", None, {"token": self.letter})
        await self.sign_in(who)
        return who

    async def execute(self, sql: str, **values: object) -> None:
        """A statement past the API, for what has no operation."""
        async with self.office.database.begin() as connection:
            await connection.execute(text(sql), values)

    def _note_request(
        self,
        method: str,
        target: str,
        who: Person | None,
        told: Mapping[str, str],
        sent: bytes,
        note: str,
    ) -> None:
        name = who.name if who else "nobody"
        lines = [f"### {method} {target} ({name}{', ' if note else ''}{note})"]
        lines += [f"> {key}: {value}" for key, value in told.items()]
        if sent:
            shown = sent.decode("utf-8", "backslashreplace")
            lines.append("> " + (shown if len(shown) < 2_000 else f"{len(shown)} characters"))
        self._page.append(self._names.conceal_asked("\n".join(lines)))

    def _note_answer(self, method: str, answer: Answer, shows: str) -> None:
        self._page.append(str(answer.status))
        if shows != "status":
            self._page.append(self._names.conceal(self._headers(method, answer)))
        if shows == "all" and answer.body:
            body = self._names.conceal(answer.body.decode())
            self._page.append(_ITEM_END.sub(",\n", body))
        if shows == "digest":
            self._page.append(f"sha256 {hashlib.sha256(answer.body).hexdigest()}")
        self._page.append("")

    def _headers(self, method: str, answer: Answer) -> str:
        """The headers in their order; those that nearly every answer has as one line."""
        length = answer.header("content-length")
        if length is not None and method != "HEAD":
            assert int(length) == len(answer.body)
        varies = b"latency_ms" in answer.body or b"qr_svg" in answer.body
        pairs = [(key.decode(), value.decode("latin-1")) for key, value in answer.headers]
        shown = "\n".join(
            f"{key}: <length>" if varies and key == "content-length" else f"{key}: {value}"
            for key, value in pairs
        )
        return shown.replace(_STANDARD, "(standard headers)")

    async def _deliver(self) -> None:
        """Let the office send what the last request has asked for, and write it down."""
        now = {"n": self.office.clock.now_us()}
        if not await self.office.runner.view(lambda view: view.scalar(_DUE, now)):
            return
        jobs = [job for job in jobs_of(self.office) if job.name.startswith("deliver to ")]
        async with asyncio.timeout(10), jobs_running(self.office, jobs):
            while await self.office.runner.view(lambda view: view.scalar(_DUE, now)):
                await asyncio.sleep(0.002)
        for path in sorted(set(self.folder.glob("*.eml")) - self._read):
            self._read.add(path)
            self._note_mail(email.message_from_bytes(path.read_bytes(), policy=default))

    def _note_mail(self, mail: EmailMessage) -> None:
        lines = ["--- mail", *[f"{name}: {value}" for name, value in mail.raw_items()]]
        for part in mail.iter_parts():
            assert isinstance(part, EmailMessage)
            lines.append("--- part")
            lines += [f"{name}: {value}" for name, value in part.raw_items()]
            lines += ["", part.get_content()]
        said = "\n".join(lines).replace("\r\n", "\n")
        found = re.search(r"#token=([\w-]{43})", said)
        self.letter = found[1] if found else ""
        self._page.append(self._names.conceal(said))


def _raw_headers(told: Mapping[str, str], who: Person | None) -> RawHeaders:
    pairs = {"X-Request-Id": REQUEST_ID, "User-Agent": "Golden/1", **told}
    if who is not None:
        pairs.setdefault("Authorization", f"Bearer {who.token}")
    return [(key.lower().encode(), value.encode("latin-1")) for key, value in pairs.items()]


def settings_of(url: str, folder: Path, **more: object) -> Settings:
    """A bank on a database, with keys that are always the same and its mail in a folder."""
    values = PRODUCTION | {
        "env": "test",
        "data_dir": folder,
        "database_url": url,
        "rate_limits": False,
        "mail_url": f"file:{folder / 'mail'}",
        "mail_from": "Golden Bank <bank@bank.example>",
    }
    return Settings.model_validate(values | more)


@asynccontextmanager
async def opened_walk(url: str, folder: Path, clock: FixedClock) -> AsyncIterator[Walk]:
    """A walk through a bank in business."""
    settings = settings_of(url, folder)
    app = create_app(settings)
    async with app.router.lifespan_context(app), open_bank(settings) as office:
        yield Walk(app, office, clock, folder / "mail")
